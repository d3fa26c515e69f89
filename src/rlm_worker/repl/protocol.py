"""What crosses between a session and its sandbox. All that comes out of the sandbox is checked here before it is used.

Its depth is looked at first, and it is parsed by pydantic's parser, which has a limit of its own on nesting: Python's
`json` runs through the stack of the whole runtime on half a million brackets, and takes the process with it.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from rlm_worker.errors import InvalidRequest, MalformedBody, SandboxLost
from rlm_worker.json_scan import check_depth
from rlm_worker.sandbox.cites import MAX_CITES

# The longest that a sandbox may ask for or send at once, in characters.
MAX_READ_CHARACTERS = 1_000_000
MAX_REQUEST_CHARACTERS = 4_000_000
# What the questions of one cell that are under way may have together; code that uses its REPL has one at a time.
MAX_UNDER_WAY_CHARACTERS = 8_000_000
TOO_LONG = f"one question may have {MAX_REQUEST_CHARACTERS:,} characters at most: no model reads more at once"
_MAX_FINAL_CHARACTERS = 400_000

Range = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ReadRequest(_Closed):
    """A range of characters of the REPL's context."""

    op: Literal["read"]
    cell: int
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=0)]


class QueryItem(_Closed):
    """One prompt for a sub-model, with ranges of the context or a text of the cell's own; `shown` is in the prompt."""

    prompt: str
    slices: Annotated[list[Range], Field(max_length=1_000)] = []
    text: str | None = None
    model: Annotated[str, Field(max_length=200)] | None = None
    shown: Annotated[list[Range], Field(max_length=1_000)] = []


class LlmQueryRequest(_Closed):
    """Prompts to be answered side by side."""

    op: Literal["query"]
    cell: int
    items: Annotated[list[QueryItem], Field(min_length=1, max_length=2_000)]


class RlmQueryRequest(QueryItem):
    """A question for a child run."""

    op: Literal["rlm"]
    cell: int


class BudgetRequest(_Closed):
    """What is left."""

    op: Literal["budget"]
    cell: int


class Report(_Closed):
    """What a REPL says about a cell."""

    cell: int
    failed: bool
    output: str
    finished: bool
    final: object
    draft: str | None
    variables: Annotated[list[str], Field(max_length=100)]
    shown: Annotated[list[Range], Field(max_length=1_000)]
    cited: Annotated[list[Range], Field(max_length=MAX_CITES)] = []


HostRequest = ReadRequest | LlmQueryRequest | RlmQueryRequest | BudgetRequest
_HOST_REQUEST: TypeAdapter[HostRequest] = TypeAdapter(Annotated[HostRequest, Field(discriminator="op")])


def parse_host_request(request: str) -> HostRequest:
    """Reads a request of the sandbox; raises `InvalidRequest`."""
    if len(request) > MAX_REQUEST_CHARACTERS:
        raise InvalidRequest.at("", TOO_LONG)
    try:
        check_depth(request)
        return _HOST_REQUEST.validate_python(from_json(request))
    except (MalformedBody, ValidationError, ValueError) as error:
        raise InvalidRequest.at("", f"not understood: {_first(error)}") from None


def parse_report(text: str, cell: int, output_limit: int) -> Report:
    """Reads a REPL's report; raises `SandboxLost` for anything else, because what says this is no REPL of ours."""
    if len(text) > MAX_REQUEST_CHARACTERS:
        raise SandboxLost("it broke the REPL that it ran in")
    try:
        check_depth(text)
        report = Report.model_validate(from_json(text))
    except (MalformedBody, ValidationError, ValueError):
        raise SandboxLost("it broke the REPL that it ran in") from None
    final = json.dumps(report.final)
    if report.cell != cell or len(report.output) > 2 * output_limit + 1_000 or len(final) > 8 * _MAX_FINAL_CHARACTERS:
        raise SandboxLost("it broke the REPL that it ran in")
    return report.model_copy(
        update={
            "output": whole_text(report.output),
            "draft": whole_text(report.draft or "")[:_MAX_FINAL_CHARACTERS],
            "variables": [whole_text(line)[:500] for line in report.variables],
            "final": from_json(whole_text(json.dumps(report.final, ensure_ascii=False))),
        }
    )


def whole_text(text: str) -> str:
    """The text without halves of surrogate pairs, which cannot be encoded."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"
    return str(error) if isinstance(error, MalformedBody) else type(error).__name__
