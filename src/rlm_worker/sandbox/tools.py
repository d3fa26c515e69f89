"""What code in the sandbox may ask of the session: models, child runs, the budget, and an end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from .cites import Cites
from .text import Chunks, Origin, Readable
from .values import plain

# One question to the host carries prompts of this many characters in all, and this many of them.
_GROUP_CHARACTERS = 2_000_000
_GROUP_ITEMS = 1_000
_MAX_FINAL_CHARACTERS = 200_000

Ask = Callable[[Mapping[str, object]], object]
Slice = str | Readable | Sequence[str | Readable] | None


class QueryError(RuntimeError):
    """The session did not answer: a limit was reached, a model failed, or the question was too long."""


class Finished(BaseException):
    """The run has its final answer; ends the cell."""


class FailedAnswer(str):  # noqa: SLOT000 - model-written code may hang notes on it
    """Stands where an item of a batch got no answer; begins with `ERROR:`."""

    failed = True


class Tools:
    """The functions of the REPL, over one way to ask the host."""

    def __init__(self, ask: Ask, origin: Origin, cites: Cites) -> None:
        self._ask = ask
        self._origin = origin
        self._cites = cites
        self.final: object = None
        self.finished = False

    def llm_query(self, prompt: str, context_slice: Slice = None, model: str | None = None) -> str:
        """Asks a sub-model; it sees the prompt and the slice, nothing else. Raises `QueryError`."""
        (answer,) = self._answers([self._item(prompt, context_slice, model)])
        if isinstance(answer, FailedAnswer):
            raise QueryError(answer.removeprefix("ERROR: "))
        return answer

    def llm_query_batched(
        self,
        prompts: str | Iterable[object],
        context_slices: Chunks | Iterable[Slice] | None = None,
        model: str | None = None,
    ) -> list[str]:
        """Asks many questions at once; answers in the same order, failures as `ERROR: …`.

        `prompts` are strings or pairs (prompt, slice); one string is asked about each of `context_slices`.
        """
        return self._answers(self._items(prompts, context_slices, model))

    def rlm_query(self, query: str, context_slice: Slice = None) -> str:
        """Answers a question about a slice by a run of its own, with a REPL of its own. Raises `QueryError`."""
        answer = self._ask({"op": "rlm", **self._item(query, context_slice, None)})
        if isinstance(answer, Mapping):
            return self._cites.adopt(str(answer["text"]), answer["cited"])
        return str(answer)

    def budget(self) -> object:
        """What the whole run has used and may use."""
        return self._ask({"op": "budget"})

    def FINAL(self, value: object = "") -> None:  # noqa: N802 - the name that models know
        """Ends the run with `value` as its answer."""
        self._finish(value)

    def FINAL_VAR(self, name: object, variables: Mapping[str, object]) -> None:  # noqa: N802
        """Ends the run with a variable's value; takes its name."""
        if isinstance(name, str) and name.strip("'\"` ") in variables:
            self._finish(variables[name.strip("'\"` ")])
        if isinstance(name, str) and name.isidentifier():
            raise NameError(f"there is no variable {name!r}; SHOW_VARS() lists those that are there")
        self._finish(name)

    def SUBMIT(self, *values: object, **fields: object) -> None:  # noqa: N802
        """Ends the run with the given fields as its answer."""
        self._finish(fields or (values[0] if len(values) == 1 else list(values)))

    def _finish(self, value: object) -> None:
        final = plain(value)
        if len(final if isinstance(final, str) else repr(final)) > _MAX_FINAL_CHARACTERS:
            raise ValueError(f"a final answer may have {_MAX_FINAL_CHARACTERS:,} characters at most")
        self.final, self.finished = final, True
        raise Finished

    def _items(
        self, prompts: str | Iterable[object], slices: Chunks | Iterable[Slice] | None, model: str | None
    ) -> Iterator[dict[str, object]]:
        if isinstance(slices, Chunks):
            prompt = _single(prompts)
            return (self._wire(prompt, [[start, end]], None, model) for start, end in slices.spans())
        if slices is not None and isinstance(prompts, str):
            prompt = _single(prompts)
            return (self._item(prompt, part, model) for part in slices)
        if slices is not None:
            return (self._item(prompt, part, model) for prompt, part in zip(prompts, slices, strict=True))
        if isinstance(prompts, str):
            raise TypeError("llm_query_batched takes a list of prompts, or one prompt and a list of slices")
        return (self._item(*_parts(prompt), model) for prompt in prompts)

    def _item(self, prompt: object, part: Slice, model: str | None) -> dict[str, object]:
        if isinstance(part, Readable):
            return self._wire(prompt, [[part.start, part.end]], None, model)
        if part is None or isinstance(part, str):
            return self._wire(prompt, [], part, model)
        parts = list(part)
        if all(isinstance(one, Readable) for one in parts):
            return self._wire(prompt, [[one.start, one.end] for one in parts if isinstance(one, Readable)], None, model)
        return self._wire(prompt, [], "\n".join(str(one) for one in parts), model)

    def _wire(self, prompt: object, slices: list[list[int]], text: str | None, model: str | None) -> dict[str, object]:
        written = str(prompt)
        shown = self._origin.shown_in(written if text is None else f"{written}\n{text}")
        return {"prompt": written, "slices": slices, "text": text, "model": model, "shown": shown}

    def _answers(self, items: Iterable[dict[str, object]]) -> list[str]:
        answers: list[str] = []
        for group in _groups(items):
            for answer in _listed(self._ask({"op": "query", "items": group})):
                answers.append(str(answer["text"]) if "text" in answer else FailedAnswer(f"ERROR: {answer['error']}"))
        return answers


def _single(prompts: str | Iterable[object]) -> str:
    if isinstance(prompts, str):
        return prompts
    given = list(prompts)
    if len(given) != 1:
        raise TypeError("chunks are asked about with one prompt")
    return str(given[0])


def _parts(prompt: object) -> tuple[object, Slice]:
    if isinstance(prompt, tuple | list) and len(prompt) == 2:
        return prompt[0], prompt[1]
    if isinstance(prompt, Mapping):
        return prompt["prompt"], prompt.get("context_slice")
    return prompt, None


def _groups(items: Iterable[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    group: list[dict[str, object]] = []
    size = 0
    for item in items:
        length = len(str(item["prompt"])) + len(str(item["text"] or ""))
        if group and (size + length > _GROUP_CHARACTERS or len(group) >= _GROUP_ITEMS):
            yield group
            group, size = [], 0
        group.append(item)
        size += length
    if group:
        yield group


def _listed(answer: object) -> list[Mapping[str, object]]:
    return answer if isinstance(answer, list) else []
