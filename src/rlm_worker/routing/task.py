"""What a query wants, told by its words: in English, and the plain cases in German, French, Spanish and Chinese."""

from __future__ import annotations

import re

from rlm_worker.wire.routing import Task

_COUNT = (
    r"\bhow (?:many|often)\b|\bcount (?:of|the|how|all|every|each)\b|^count\b|\b(?:total )?number of\b",
    r"\bwie ?viele\b|\bwie oft\b|\banzahl\b",
    r"\bcombien (?:de|d['\u2019]|sont|y)\b|\bnombre (?:de|d['\u2019])",
    r"\bcuánt[oa]s\b|\bcuantas? veces\b|\bnúmero de\b",
    r"多少(?:个|次|人|项|条|名|家|种)|几(?:个|次|人|项|条|名|家|种)|数量|总数",
)
# What is computed over many records: a sum, a mean, or which of them comes first.
_SIZES = r"(?:longest|shortest|largest|smallest|biggest|highest|lowest|cheapest|most expensive)"
_AGGREGATE = (
    r"\b(?:most|least) often\b|\b(?:most|least) frequent(?:ly)?\b|\bon average\b",
    r"\b(?:have|has|had|made|make|makes|with|sent|got|received|wrote|placed) the (?:most|fewest)\b",
    r"\b(?:second|third|fourth|fifth|2nd|3rd|\d+th)[- ]\w+est\b",
    rf"\b(?:what|which|who|whose|find|name|give|show)\b.*\bthe {_SIZES}\b(?! court\b)",
    r"\b(?:average|median)\b(?!.*\b\w+ (?:no\.? ?|#)?\d)",
    r"\b(?:total|sum)(?: \w+){0,2} (?:of|for|across|over|from|by) (?:all|every|each|(?:the )?\w+[^\Ws]s)\b",
    r"\bhow much\b.*\b(?:in all|in total|altogether|overall)\b",
    r"\bam (?:häufigsten|meisten)\b|\bim durchschnitt\b|\bdurchschnittlich\w*",
    r"\ble plus souvent\b|\ben moyenne\b|\bau total\b",
    r"\bcon más frecuencia\b|\ben promedio\b|\ben total\b",
    r"平均|总共|最频繁",
)
_PAIR = (
    r"\b(?:which|what|all|every|each|list|find|the|distinct|possible) pairs of\b|\bpair (?:up|each|every|all)\b",
    r"\bmatch (?:up )?(?:each|every|all|the \w+s)\b.*\b(?:with|to|against)\b",
    r"\b(?:welche|alle) paare\b|\b(?:toutes les|quelles) paires\b|\btodos los pares\b|配对|成对",
)
_COMPARE = (
    r"\bcompar(?:e|es|ed|ing|ison)\b|\bdifferences?\b|\bversus\b|\bvs\b|\bdiffer\b|\bcontrast\b",
    r"\bvergleich\w*|\bunterschied\w*|\bunterscheide\w*",
    r"\bcompare[rz]?\b|\bcomparaison\b|\bdifférences?\b",
    r"\bcompar(?:a|ar|ación)\b|\bdiferencias?\b",
    r"比较|对比|区别|差异|不同之处",
)
_LIST = (
    r"\b(?:list|enumerate|itemi[sz]e)\b",
    r"\b(?:name|find|give|show|extract|identify|what are|which are)(?: me)? (?:all|every|each)\b",
    r"\bliste\w*|\bnenne\w*(?: mir)? (?:alle|jede\w*)\b|\bzähle?\b.*\bauf\b|\bwelche .*\bgibt es\b",
    r"\bénumère\w*|\bliste[rz]?\b|\btou(?:s|tes) les\b",
    r"\benumer\w+|\blista(?:r|me)?\b|\btod[oa]s l[oa]s\b",
    r"列出|列举|有哪些|所有的?",
)
_SUMMARIZE = (
    r"\bsummar(?:y|ies|i[sz]e[sd]?|i[sz]ing)\b|\btl;?dr\b|\boverview\b|\bgist\b",
    r"\b(?:main|key) (?:points|ideas|takeaways)\b",
    r"\bfass\w* .*\bzusammen\b|\bzusammenfass\w*|\büberblick\b",
    r"\brésum\w+|\bsynthèse\b|\bsynthétise\w*",
    r"\bresum(?:e|ir|en|a)\b|\bresúme\w*|\bsíntesis\b",
    r"总结|概括|摘要|概述|归纳",
)
_CODE = (
    r"\b(?:code|codebase|source code|bugs?|stack ?trace|traceback|refactor\w*|compil(?:e|es|er)|unit tests?|regex)\b",
    r"\b(?:functions?|method|class|module|endpoint)\b.*\b(?:call\w*|defin\w+|implement\w*|return\w*|import\w*)\b",
    r"\b(?:where|how) is \S+ (?:implemented|called)\b|`[^`]+`|\b\w+\(\)|\b[\w/]+\.(?:py|js|ts|go|rs|java|cpp|rb|sql)\b",
    r"\bquell(?:code|text)\b|\bfonction\b.*\bcode\b|\bcódigo\b|代码|函数|源码",
)
_LOOKUP = (
    r"^\W*(?:who|whom|whose|what|when|where|which|how (?:much|old|long|far|large|big)|is|are|was|were|does|did|do)\b",
    r"^\W*(?:wer|wen|wem|wessen|was|wann|wo|welche[rsnm]?|wie (?:hoch|alt|lang|groß|teuer)|ist|sind|war|hat)\b",
    r"^\W*(?:qui|quand|où|quel(?:le)?s?|qu['\u2019]|que|est-ce)",
    r"^\W*¿?\W*(?:quién|quiénes|cuándo|dónde|cuál|cuáles|qué)\b",
    r"谁|什么|何时|哪里|哪儿|哪个|哪年|多少|是否|[?\uff1f]\s*$",
)


def _any(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE | re.DOTALL)


# In this order: "how many functions" is to be counted, whatever is counted.
_RULES: tuple[tuple[Task, re.Pattern[str]], ...] = (
    ("count", _any(_COUNT + _AGGREGATE)),
    ("compare", _any(_COMPARE + _PAIR)),
    ("list", _any(_LIST)),
    ("summarize", _any(_SUMMARIZE)),
    ("code", _any(_CODE)),
    ("lookup", _any(_LOOKUP)),
)
# Instructions open a query or close it; what stands in between is pasted text.
_END_CHARACTERS = 1_000


def task_of(query: str) -> Task:
    """The task of a query; `other` where its words tell none."""
    query = query.strip()
    told = query if len(query) <= 2 * _END_CHARACTERS else f"{query[:_END_CHARACTERS]} {query[-_END_CHARACTERS:]}"
    return next((task for task, pattern in _RULES if pattern.search(told)), "other")
