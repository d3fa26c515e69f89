"""An answer as it is told while it is made: what is new in it, for forms that cannot take back what they have said."""

from __future__ import annotations

from collections.abc import Mapping

_ANEW = "\n\n[the answer begins anew]\n\n"


class ToldAnswer:
    """What was told of one answer so far."""

    def __init__(self) -> None:
        self._told = ""
        self._attempt = ""

    def news(self, data: Mapping[str, object]) -> str:
        """What an `answer` event adds: an attempt that is made again is silent until it has caught up."""
        if data.get("restart"):
            self._attempt = ""
        self._attempt += str(data.get("delta") or "")
        if self._told.startswith(self._attempt):
            return ""
        news = self._attempt.removeprefix(self._told)
        anew = bool(self._told) and not self._attempt.startswith(self._told)
        self._told = self._attempt
        return _ANEW + news if anew else news

    def rest(self, answer: str) -> str:
        """What was not told of the answer that came of it; the two differ by the blanks around them."""
        told = self._told.strip()
        if answer.strip().startswith(told):
            return answer.strip()[len(told) :]
        return _ANEW + answer
