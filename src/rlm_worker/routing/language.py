"""The language of a query, told by its script and its commonest words; no more than rules need."""

from __future__ import annotations

import re
from collections import Counter

# Scripts that one language uses, or nearly; the first that is met most decides.
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)
# Cyrillic letters that Russian does not have.
_UKRAINIAN = re.compile("[іїєґ]", re.IGNORECASE)
# Words that are common in one of these languages and rare in the others.
_WORDS = {
    "en": "the of and is are was were what which who when where how many does did for in this that with from to it any",
    "de": "der die das und ist sind war wer was wann wo wie viele welche welcher ein eine im den dem für nicht von zu",
    "fr": "le la les des est sont était qui quoi quand où combien quel quelle quels quelles une du dans pour avec et",
    "es": "el los las es son fue quién qué cuándo dónde cuántos cuántas cuál una del en para con por y al como",
    "pt": "o os as é são foi quem que quando onde quantos quantas qual uma do da dos em para com não",
    "it": "il lo gli è sono era chi che quando dove quanti quante quale una del della di nel per con",
    "nl": "het een en is zijn was wie wat wanneer waar hoeveel welke van voor niet dat deze met",
}
_STOP_WORDS = {language: frozenset(words.split()) for language, words in _WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+")
_MAX_CHARACTERS = 4_000


def language_of(text: str) -> str | None:
    """The ISO 639 code of a text's language; None where its words tell nothing."""
    text = text[:_MAX_CHARACTERS]
    letters = sum(map(len, _WORD.findall(text)))
    for language, script in _SCRIPTS:
        if 4 * len(script.findall(text)) > letters > 0:
            return "uk" if language == "ru" and _UKRAINIAN.search(text) else language
    return _by_words(text)


def _by_words(text: str) -> str | None:
    words = Counter(word.lower() for word in _WORD.findall(text))
    hits = {
        language: sum(times for word, times in words.items() if word in known)
        for language, known in _STOP_WORDS.items()
    }
    best = max(hits, key=lambda language: hits[language])
    return best if hits[best] else None
