"""What a model thinks aloud before it answers, kept out of the answer, however the text is cut into pieces."""

from __future__ import annotations

from dataclasses import dataclass, field

_TAGS = {"<think>": "</think>", "<thinking>": "</thinking>"}
_LONE_END = "</think>"


@dataclass(slots=True)
class Spoken:
    """What a piece of text brings; `restart`: what came before it was not the answer."""

    text: str
    restart: bool = False


@dataclass(slots=True)
class ThoughtFilter:
    """Lets an answer through and drops the thinking in front of it: `<think>…</think>`, its tags split or not.

    A model that `reasons` may leave the first tag to its template, so that a closing tag alone ends the thinking; and
    what it began to think and did not end is no answer. Of any other model both are text like any other.
    """

    reasons: bool
    _held: str = ""
    _end: str = ""
    _at_start: bool = True
    _thought: bool = False
    _said: list[str] = field(default_factory=list)

    def take(self, piece: str) -> Spoken:
        """The part of the answer in the next piece, as far as that can be told yet."""
        self._held += piece
        spoken = Spoken("")
        while self._step(spoken):
            pass
        return spoken

    def rest(self) -> str:
        """What was held back, now that nothing follows."""
        held, self._held = self._held, ""
        if self._end and self.reasons:
            return ""
        return held

    def _step(self, spoken: Spoken) -> bool:
        """Goes on as far as the text tells; whether there may be more to do."""
        if self._end:
            return self._think()
        if self._at_start:
            return self._begin()
        return self._speak(spoken)

    def _begin(self) -> bool:
        text = self._held.lstrip()
        if not text:
            self._held = "" if self._thought else self._held
            return False
        for tag, end in _TAGS.items():
            if text.startswith(tag):
                self._end = end
                return True
        if any(tag.startswith(text) for tag in _TAGS):
            return False
        self._at_start = False
        if self._thought:
            self._held = text
        return True

    def _think(self) -> bool:
        thought, end, rest = self._held.partition(self._end)
        if not end:
            return False
        self._held, self._end, self._thought = rest, "", True
        return bool(thought or rest)

    def _speak(self, spoken: Spoken) -> bool:
        if not self.reasons or self._thought:
            spoken.text, self._held = spoken.text + self._held, ""
            return False
        before, end, rest = self._held.partition(_LONE_END)
        if end:
            spoken.text, spoken.restart = "", True
            self._held, self._at_start, self._thought = rest, True, True
            return True
        keep = _overlap(before, _LONE_END)
        spoken.text += before[: len(before) - keep]
        self._held = before[len(before) - keep :]
        return False


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of a text may be the beginning of a tag."""
    return next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)


def without_thoughts(text: str, *, reasons: bool) -> str:
    """The answer in a whole text."""
    filter_ = ThoughtFilter(reasons)
    return filter_.take(text).text + filter_.rest()
