"""A query's task and language are told by its words."""

from __future__ import annotations

import pytest

from rlm_worker.routing.language import language_of
from rlm_worker.routing.task import task_of


@pytest.mark.parametrize(
    ("query", "task"),
    [
        ("What is the number for amber-fox?", "lookup"),
        ("who signed the contract", "lookup"),
        ("Wann wurde die Brücke gebaut?", "lookup"),
        ("Où est né Victor Hugo ?", "lookup"),
        ("¿Quién firmó el contrato?", "lookup"),
        ("合同是谁签的", "lookup"),
        ("How many invoices are overdue?", "count"),
        ("Count all mentions of Berlin", "count"),
        ("Wie viele Verträge wurden gekündigt?", "count"),
        ("Combien de clients ont payé ?", "count"),
        ("¿Cuántas facturas hay?", "count"),
        ("有多少个合同", "count"),
        ("How many functions call parse()?", "count"),
        ("List every person who is named.", "list"),
        ("Find all dates in the text", "list"),
        ("Nenne alle Städte.", "list"),
        ("Énumère tous les noms.", "list"),
        ("Enumera todos los nombres.", "list"),
        ("列出所有城市", "list"),
        ("Compare the two offers.", "compare"),
        ("What is the difference between draft 1 and 2?", "compare"),
        ("Vergleiche die beiden Angebote.", "compare"),
        ("Quelle est la différence entre les deux ?", "compare"),
        ("¿Qué diferencias hay?", "compare"),
        ("比较两个方案", "compare"),
        ("Summarize this in three sentences.", "summarize"),
        ("What are the main points?", "summarize"),
        ("Fasse den Text zusammen.", "summarize"),
        ("Résume le texte.", "summarize"),
        ("Resume el texto.", "summarize"),
        ("总结一下这篇文章", "summarize"),
        ("Where is `Ledger.settle` implemented?", "code"),
        ("Find the bug in this stack trace", "code"),
        ("这个函数做什么", "code"),
        ("Which customer complained most often?", "count"),
        ("Who made the most calls?", "count"),
        ("What is the second-longest call?", "count"),
        ("Which call was the longest?", "count"),
        ("What is the average duration of the calls?", "count"),
        ("What is the total price of all orders?", "count"),
        ("What is the sum of the invoices?", "count"),
        ("How much did we pay in all?", "count"),
        ("Wer hat am häufigsten angerufen?", "count"),
        ("Qui a appelé le plus souvent ?", "count"),
        ("Which pairs of users have both called Berlin?", "compare"),
        ("Pair up all users who share a city.", "compare"),
        ("Match each invoice with its payment", "compare"),
        ("How many pairs of users share a city?", "count"),
        ("What is the total on invoice 12?", "lookup"),
        ("What is the total of invoice 12?", "lookup"),
        ("What is the average on invoice 12?", "lookup"),
        ("Who is the second author?", "lookup"),
        ("What is the most important clause?", "lookup"),
        ("Who signed the most recent contract?", "lookup"),
        ("Which is the highest court?", "lookup"),
        ("What did the pair of shoes cost?", "lookup"),
        ("Does the address match the one on the contract?", "lookup"),
        ("Translate it into Latin.", "other"),
        ("", "other"),
    ],
)
def test_words_tell_task(query: str, task: str) -> None:
    assert task_of(query) == task


def test_pasted_text_tells_nothing() -> None:
    assert task_of(f"Who wrote this? {'x ' * 1_000} how many {'y ' * 1_000}") == "lookup"


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("How many of the invoices are overdue?", "en"),
        ("Wie viele der Rechnungen sind überfällig?", "de"),
        ("Combien de factures sont en retard dans le dossier ?", "fr"),
        ("¿Cuántas facturas hay en el archivo?", "es"),
        ("Quantas faturas são do cliente?", "pt"),
        ("Quanti sono gli ordini della ditta?", "it"),
        ("Hoeveel facturen zijn het van deze klant?", "nl"),
        ("有多少个合同", "zh"),
        ("契約はいくつありますか", "ja"),
        ("계약이 몇 개 있습니까", "ko"),
        ("Сколько договоров подписано?", "ru"),
        ("Скільки договорів підписано?", "uk"),
        ("كم عدد العقود؟", "ar"),
        ("amber-fox 17", None),
        ("", None),
    ],
)
def test_words_tell_language(query: str, language: str | None) -> None:
    assert language_of(query) == language
