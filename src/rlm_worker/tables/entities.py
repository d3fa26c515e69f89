"""Names of the same person or thing, resolved by code: in columns that are grouped or joined, and only when sure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from .rows import Row
from .schema import MAX_SQL, Schema, name_key

# Titles that say nothing of who it is; and such as tell two people apart.
_DEGREES = frozenset(("dr", "prof", "professor"))
_FORMS_OF_ADDRESS = frozenset(("mr", "mrs", "ms", "miss", "sir", "herr", "frau", "mme", "sra", "sr"))
# Other letters for the same sign, and what is not seen.
_SAME_SIGN = str.maketrans({"’": "'", "‐": "-", "‑": "-", "\xad": "", "\u200b": "", "\u2060": "", "\ufeff": ""})  # noqa: RUF001
# Stops that end a word or an initial, and commas: not those of numbers, of ".NET" or of "example.com".
_STOP = re.compile(r"(?<=[^\W_])\.(?=[\s,]|\Z)|(?<=\b[^\W\d_])\.(?=[^\W\d_])|,(?!\d)|(?<!\d),")
_INITIAL = re.compile(r"(?<![^\W_])[^\W\d_]\.")
_DIGIT = re.compile(r"\d")
_CLAUSE = re.compile(
    r"\b(?:GROUP\s+BY|PARTITION\s+BY|ON|USING|DISTINCT)\b(.*?)"
    r"(?=\b(?:HAVING|ORDER\s+BY|LIMIT|WHERE|GROUP|JOIN|LEFT|INNER|CROSS|UNION|SELECT|FROM)\b|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_SIDE = r'(?<![\w."`\[\]])([\w."`\[\]]++)'
_EQUAL = re.compile(rf'{_SIDE}\s*+={{1,2}}\s*+([\w."`\[\]]++)')
_NAME = re.compile(r'"((?:[^"]|"")++)"|`([^`]++)`|\[([^\]]++)\]|([^\W\d][\w$]*+)')
_STRING = re.compile(r"'(?:[^']|'')*'")
# What stands behind a comma and is no first name.
_FIRMS = "inc ltd llc llp co corp gmbh ag kg plc sa nv bv ab oy spa sas sarl jr sr md phd esq ii iii iv"
_NO_FIRST_NAMES = frozenset(_FIRMS.split())
MAX_DOUBTS, _MAX_TOLD = 20, 3
# Two names that one may stand for are a doubt, and so are more candidates than anybody would look through.
_ENOUGH, _MAX_CANDIDATES = 2, 200


@dataclass(frozen=True, slots=True)
class Resolved:
    """Which name each name stands for, those that stay themselves left out; and what was not merged, in sentences."""

    names: Mapping[str, str]
    doubts: tuple[str, ...] = ()

    @property
    def merged(self) -> tuple[str, ...]:
        """What was merged, in a sentence; none where nothing was."""
        if not self.names:
            return ()
        meant = set(self.names.values())
        some = ", ".join(f"{name} as {other}" for name, other in sorted(self.names.items())[:_MAX_TOLD])
        more = " and others" if len(self.names) > _MAX_TOLD else ""
        return (f"{len(self.names) + len(meant)} names read as {len(meant)}: {some}{more}",)


class _Key(NamedTuple):
    """What two spellings of one name have in common: a form of address, where that is known, and the words."""

    address: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fuller:
    """Full names, for those that may be short for them: by last word and first letter, and two by each word."""

    by_ends: Mapping[tuple[str, str], list[_Key]]
    by_word: Mapping[str, list[_Key]]

    @classmethod
    def of(cls, names: Iterable[_Key]) -> _Fuller:
        by_ends: dict[tuple[str, str], list[_Key]] = defaultdict(list)
        by_word: dict[str, list[_Key]] = defaultdict(list)
        for key in names:
            words = key.words
            if len(words) < 2 or any(map(_is_initial, words[:-1])):
                continue
            by_ends[words[-1], words[0][0]].append(key)
            for word in {*words, words[0][0]}:
                if len(by_word[word]) < _ENOUGH:
                    by_word[word].append(key)
        return cls(by_ends, by_word)

    def fitting(self, key: _Key) -> list[_Key]:
        """Names that one may be short for: no more of them than make it a doubt."""
        words = key.words
        if len(words) == 1:
            return self.by_word.get(words[0], [])
        if not any(map(_is_initial, words[:-1])) or _has_digit(words):
            return []
        candidates = self.by_ends.get((words[-1], words[0][0]), [])
        fitting = (other for other in candidates[:_MAX_CANDIDATES] if _stands_for(key, other))
        return list(islice(fitting, _ENOUGH))

    def is_sure(self, key: _Key) -> bool:
        """Whether all names that one may be short for were looked at."""
        return len(self.by_ends.get((key.words[-1], key.words[0][0]), ())) <= _MAX_CANDIDATES


def resolve(names: Iterable[str]) -> Resolved:
    """Finds the names that stand for others among these; one that fits two is left alone, and told.

    Sure are names that differ in letter case, blanks, degrees and stops only, "Smith, John" beside "John Smith", and
    initials with a stop and a surname where one full name alone has both. A first name alone is never merged with a
    full one; a form of address is no difference only where the name has no other one. Takes time in proportion to the
    number of names.
    """
    counts = Counter(name for name in names if name.strip())
    keys = _keys(counts)
    spelled: dict[_Key, Counter[str]] = defaultdict(Counter)
    for name, count in counts.items():
        spelled[keys[name]][name] += count
    chosen = {key: _chosen(spellings) for key, spellings in spelled.items()}
    fuller = _Fuller.of(sorted(chosen))
    meant: dict[_Key, _Key] = {}
    doubts: list[str] = []
    for key, name in chosen.items():
        fitting = fuller.fitting(key)
        if len(key.words) > 1 and len(fitting) == 1 and fuller.is_sure(key) and _has_stops(key, spelled[key]):
            meant[key] = fitting[0]
        elif fitting and len(doubts) < MAX_DOUBTS:
            fits = sorted(chosen[other] for other in fitting)
            doubts.append(f"{name} may be {' or '.join(fits)}: not merged")
    resolved = {name: chosen[meant.get(key, key)] for name, key in keys.items()}
    changed = {name: other for name, other in resolved.items() if other != name}
    return Resolved(changed, tuple(sorted(doubts)))


def _keys(names: Iterable[str]) -> Mapping[str, _Key]:
    """The key of each name; one without a form of address has that of its namesakes, where they have one only."""
    keys = {name: _key(name) for name in names}
    addresses: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for key in keys.values():
        addresses[key.words] |= {key.address} - {""}
    only = {words: next(iter(known)) for words, known in addresses.items() if len(known) == 1}
    return {name: _Key(only.get(key.words, key.address), key.words) for name, key in keys.items()}


def _chosen(spellings: Counter[str]) -> str:
    """The spelling that stands for all: the most frequent, then with capitals, without commas, the longest."""
    return min(spellings, key=lambda name: (-spellings[name], name.islower(), "," in name, -len(name), name))


def _key(name: str) -> _Key:
    """The words of a name in their usual order, in small letters; every sign counts but blanks, commas and stops."""
    words = _words(name) or (name.strip(),)
    if name.count(",") == 1 and not _has_digit(words):
        last, first = map(_words, name.split(","))
        if len(last) == 1 and first and first[0] not in _NO_FIRST_NAMES:
            words = first + last
    address = ""
    # Of "Dr Smith" and "Mr Smith" not much is left without the title.
    while len(words) > 2 and words[0] in _DEGREES | _FORMS_OF_ADDRESS:
        address = address or (words[0] if words[0] in _FORMS_OF_ADDRESS else "")
        words = words[1:]
    return _Key(address, words)


def _words(name: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFC", name).translate(_SAME_SIGN)
    return tuple(_STOP.sub(" ", plain).lower().split())


def _is_initial(word: str) -> bool:
    return len(word) == 1 and word.isalpha()


def _has_digit(words: tuple[str, ...]) -> bool:
    return any(map(_DIGIT.search, words))


def _has_stops(key: _Key, spellings: Iterable[str]) -> bool:
    """Whether the initials of a name are written as such: "B Street" is no short for "Baker Street"."""
    initials = sum(map(_is_initial, key.words[:-1]))
    return any(len(_INITIAL.findall(name)) >= initials for name in spellings)


def _stands_for(short: _Key, full: _Key) -> bool:
    """Whether a name with initials may be short for another, which has the same last word."""
    if short.address not in {"", full.address} or len(short.words) > len(full.words) or _has_digit(full.words):
        return False
    pairs = zip(short.words[:-1], full.words[:-1], strict=False)
    return all(word == other or (_is_initial(word) and other.startswith(word)) for word, other in pairs)


def grouped_columns(schema: Schema, *statements: str) -> frozenset[tuple[str, str]]:
    """The string columns, as (table, column), that SQL statements group by, join on, or count the values of."""
    named: set[str] = set()
    if max(map(len, statements), default=0) > MAX_SQL:
        return frozenset()  # no statement that is run
    for statement in statements:
        bare = _STRING.sub("''", statement)
        parts = [found[1] for found in _CLAUSE.finditer(bare)]
        parts += [f"{one} {other}" for one, other in _EQUAL.findall(bare)]
        named |= {name_key("".join(groups).replace('""', '"')) for part in parts for groups in _NAME.findall(part)}
    # In `picked`, the columns of pairs are named `a_…` and `b_…`.
    named |= {name[2:] for name in named if name.startswith(("a_", "b_"))}
    return frozenset(
        (table.name, column.name)
        for table in schema.tables
        for column in table.columns
        if column.type == "string" and name_key(column.name) in named
    )


def names_in(rows: Iterable[Row], columns: frozenset[tuple[str, str]]) -> Iterator[str]:
    """The names in some columns, which are resolved together: those of columns that are joined mean the same."""
    by_table = _by_table(columns)
    for row in rows:
        for name in by_table.get(row.table, ()):
            if isinstance(value := row.values.get(name), str):
                yield value


def _by_table(columns: frozenset[tuple[str, str]]) -> Mapping[str, list[str]]:
    by_table: dict[str, list[str]] = defaultdict(list)
    for table, name in sorted(columns):
        by_table[table].append(name)
    return by_table
