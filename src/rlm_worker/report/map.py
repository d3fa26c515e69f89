"""What was read and what not, as a map of the whole context and in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

from rlm_worker.wire.results import RunResult

from .markup import Child, element, plain
from .reading import Reading, State, Stretch

_NAMES: Mapping[State, str] = {
    "evidence": "read, with evidence",
    "nothing": "read, nothing for the question",
    "read": "read",
    "failed": "failed",
    "unread": "not read",
}
# The map's own width; stretches that would be narrower than a unit are drawn as one.
_WIDTH = 1_000


def reading_section(reading: Reading, result: RunResult, unread: Sequence[str]) -> Element:
    """The map with its legend; `unread` says in words where nobody has read."""
    heading = element("h2", "What was read")
    if not reading.stretches:
        return element("section", heading, element("p", _in_words(result)), id="reading")
    missing = element("ul", *[element("li", plain(words)) for words in unread]) if unread else None
    told = element("p", _in_words(result))
    return element("section", heading, told, _map(reading), _legend(reading), missing, id="reading")


def _in_words(result: RunResult) -> str:
    share = "All of it" if result.coverage >= 1 else f"{int(result.coverage * 1_000) / 10:g} % of the characters"
    if result.strategy == "repl":
        return f"{share} went to a model; the root model explored the rest by code, in {result.iterations:,} turns."
    return f"{share} went to a model."


def _map(reading: Reading) -> Element:
    bars = [
        element("rect", x=f"{start:g}", y="0", width=f"{end - start:g}", height="10", class_=state)
        for start, end, state in _bars(reading)
    ]
    label = "The context from its beginning to its end, by what was read"
    return element(
        "svg",
        _hatch(),
        *bars,
        class_="map",
        viewBox=f"0 0 {_WIDTH} 10",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def _hatch() -> Element:
    line = element("path", d="M0 6 L6 0", class_="hatch", stroke_width="1.5")
    pattern = element("pattern", line, id="hatch", width="6", height="6", patternUnits="userSpaceOnUse")
    return element("defs", pattern)


def _bars(reading: Reading) -> Iterator[tuple[float, float, State]]:
    """Stretches on the map's scale; of those that fall into one unit the worst is drawn, so that no gap is hidden."""
    worst: dict[int, State] = {}
    order: Sequence[State] = ("nothing", "read", "evidence", "failed", "unread")
    for stretch in reading.stretches:
        for unit in range(*_units(stretch, reading.characters)):
            known = worst.get(unit)
            if known is None or order.index(stretch.state) > order.index(known):
                worst[unit] = stretch.state
    start = 0
    for unit in range(_WIDTH):
        if unit + 1 == _WIDTH or worst.get(unit + 1) != worst.get(unit):
            if (state := worst.get(unit)) is not None:
                yield start, unit + 1, state
            start = unit + 1


def _units(stretch: Stretch, characters: int) -> tuple[int, int]:
    first = stretch.start * _WIDTH // characters
    return first, max(first + 1, stretch.end * _WIDTH // characters)


def _legend(reading: Reading) -> Element:
    states = list(dict.fromkeys(stretch.state for stretch in reading.stretches))
    return element("ul", *[_entry(state, reading) for state in _NAMES if state in states], class_="legend")


def _entry(state: State, reading: Reading) -> Element:
    swatch = element(
        "svg", element("rect", width="10", height="10", class_=state), viewBox="0 0 10 10", aria_hidden="true"
    )
    chunks = (reading.chunks or {}).get(state)
    counted: Child = f": {chunks:,} {'chunk' if chunks == 1 else 'chunks'}" if chunks else None
    return element("li", swatch, _NAMES[state], counted)
