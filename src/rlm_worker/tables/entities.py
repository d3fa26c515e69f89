"""Names of the same person or thing, resolved by code: in columns that are grouped or joined, and only when sure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rlm_worker.citations.folding import fold

from .rows import Row
from .schema import MAX_SQL, Schema, name_key

_TITLES = frozenset(("mr", "mrs", "ms", "miss", "dr", "prof", "professor", "sir", "herr", "frau", "mme", "sra"))
_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*\.?")  # noqa: RUF001
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
_FIRMS = ("inc", "ltd", "llc", "co", "corp", "gmbh", "ag", "plc", "jr", "sr", "s.a")
MAX_DOUBTS, _MAX_FITS = 20, 5


@dataclass(frozen=True, slots=True)
class Resolved:
    """Which name each name stands for, those that stay themselves left out; and what was not merged, in sentences."""

    names: Mapping[str, str]
    doubts: tuple[str, ...] = ()


def resolve(names: Iterable[str]) -> Resolved:
    """Finds the names that stand for others among these; one that fits two is left alone, and told.

    Sure are names that differ in letter case, blanks, titles and stops only, "Smith, John" beside "John Smith", and
    initials with a surname where one full name alone has both. A first name alone is never merged with a full one.
    """
    counts = Counter(name for name in names if name.strip())
    spelled: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for name, count in counts.items():
        spelled[_parts(name)][name] += count
    chosen = {parts: _chosen(spellings) for parts, spellings in spelled.items()}
    fuller = _by_words(parts for parts in chosen if len(parts) > 1 and not any(map(_is_initial, parts[:-1])))
    meant: dict[tuple[str, ...], tuple[str, ...]] = {}
    doubts: list[str] = []
    for parts, name in chosen.items():
        fitting = [other for other in fuller.get(parts[-1], ()) if other != parts and _stands_for(parts, other)]
        if len(parts) > 1 and len(fitting) == 1:
            meant[parts] = fitting[0]
        elif fitting and len(doubts) < MAX_DOUBTS:
            fits = sorted(chosen[other] for other in fitting)
            doubts.append(f"{name} may be {' or '.join(fits[:_MAX_FITS])}: not merged")
    resolved = {name: chosen[meant.get(_parts(name), _parts(name))] for name in counts}
    changed = {name: other for name, other in resolved.items() if other != name}
    return Resolved(changed, tuple(sorted(doubts)))


def _by_words(names: Iterable[tuple[str, ...]]) -> Mapping[str, list[tuple[str, ...]]]:
    """Full names by each of their words, and by the letter with which they begin."""
    by_word: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for parts in names:
        for word in {*parts, parts[0][:1]}:
            by_word[word].append(parts)
    return by_word


def _chosen(spellings: Counter[str]) -> str:
    """The spelling that stands for all: the most frequent, then with capitals, without commas, the longest."""
    return min(spellings, key=lambda name: (-spellings[name], name.islower(), "," in name, -len(name), name))


def _parts(name: str) -> tuple[str, ...]:
    """The words of a name in their usual order, folded, without titles; initials keep one letter."""
    if name.count(",") == 1:
        last, first = name.split(",")
        if len(_TOKEN.findall(last)) == 1 and _TOKEN.findall(first) and not first.strip().lower().startswith(_FIRMS):
            name = f"{first} {last}"
    words = [fold(token.rstrip(".")).text for token in _TOKEN.findall(name)]
    kept = [word for word in words if word not in _TITLES] if len(words) > 1 else words
    return tuple(kept) or (fold(name).text.strip(),)


def _is_initial(word: str) -> bool:
    return len(word) == 1


def _stands_for(short: tuple[str, ...], full: tuple[str, ...]) -> bool:
    """Whether a name may be short for another: initials and the surname, or one of its words alone."""
    if len(short) == 1:
        return short[0] in full or (_is_initial(short[0]) and full[0].startswith(short[0]))
    if short[-1] != full[-1] or len(short) > len(full) or not any(map(_is_initial, short[:-1])):
        return False
    pairs = zip(short[:-1], full[:-1], strict=False)
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


def with_names_resolved(
    rows: Sequence[Row], columns: frozenset[tuple[str, str]]
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The rows with the names of those columns resolved, `raw` and ids as they were; and the doubts."""
    resolved = resolve(names_in(rows, columns))
    return tuple(renamed(rows, columns, resolved.names)), resolved.doubts


def names_in(rows: Iterable[Row], columns: frozenset[tuple[str, str]]) -> Iterator[str]:
    """The names in some columns, which are resolved together: those of columns that are joined mean the same."""
    by_table = _by_table(columns)
    for row in rows:
        for name in by_table.get(row.table, ()):
            if isinstance(value := row.values.get(name), str):
                yield value


def renamed(rows: Iterable[Row], columns: frozenset[tuple[str, str]], names: Mapping[str, str]) -> Iterator[Row]:
    """The rows one after another, those names in those columns replaced by what they stand for."""
    by_table = _by_table(columns)
    for row in rows:
        found = {name: row.values.get(name) for name in by_table.get(row.table, ())}
        changed = {name: names[value] for name, value in found.items() if isinstance(value, str) and value in names}
        yield replace(row, values={**row.values, **changed}) if changed else row


def _by_table(columns: frozenset[tuple[str, str]]) -> Mapping[str, list[str]]:
    by_table: dict[str, list[str]] = defaultdict(list)
    for table, name in sorted(columns):
        by_table[table].append(name)
    return by_table
