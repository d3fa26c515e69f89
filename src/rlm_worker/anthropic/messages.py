"""A message as a run, and a run as a message.

The last text of the last message is the query. Documents are the context, in their order and first, so that the numbers
by which they are cited are Anthropic's; all that was said before stands behind them. What the system says is how to
answer; only where it is longer than any instructions, a text in their place, it is context too.
"""

from __future__ import annotations

from collections.abc import Iterator

from rlm_worker.citations.segments import Mark, segments
from rlm_worker.errors import InvalidRequest
from rlm_worker.models.catalog import Catalog
from rlm_worker.openai.chat import answering_models, excerpt
from rlm_worker.openai.models import model_choice
from rlm_worker.runs.job import Job
from rlm_worker.text.tokens import TOKENS_PER_MESSAGE, TokenEstimator
from rlm_worker.wire.requests import (
    MAX_OUTPUT_TOKENS,
    MAX_QUERY_CHARACTERS,
    Document,
    RunConfig,
    RunRequest,
    with_defaults,
)
from rlm_worker.wire.results import Citation, RunResult

from .schemas import (
    AnswerBlock,
    AnsweredMessage,
    CharLocation,
    CountRequest,
    DocumentBlock,
    MessageNumbers,
    MessagesRequest,
    MessageUsage,
    OutputDetails,
    StopReason,
)


def run_request(sent: MessagesRequest, defaults: RunConfig, catalog: Catalog) -> RunRequest:
    """The run that a message asks for; raises `InvalidRequest` or `UnknownModel`."""
    system = sent.system_text()
    instructs = bool(system.strip()) and len(system) <= MAX_QUERY_CHARACTERS
    documents, query = _context_and_query(sent, "" if instructs else system)
    return RunRequest(
        context=list(documents),
        query=query,
        config=with_defaults(_config(sent, catalog), defaults),
        response_schema=sent.output_config.format.schema_ if sent.output_config and sent.output_config.format else None,
        instructions=system if instructs else None,
        stream=sent.stream,
    )


def cited_documents(sent: CountRequest) -> int | None:
    """How many documents may be cited; None where none may.

    Raises `InvalidRequest` where only some may, and where the answer is to be JSON, which parts of it are not.
    """
    wanted = [bool(block.citations and block.citations.enabled) for block in _documents(sent)]
    if any(wanted) and not all(wanted):
        raise InvalidRequest.at("messages", "citations must be enabled for all documents or for none")
    if any(wanted) and sent.output_config is not None and sent.output_config.format is not None:
        raise InvalidRequest.at("output_config.format", "is not to be had with citations: they cut the answer in parts")
    return len(wanted) if wanted and all(wanted) else None


def message(result: RunResult, job: Job, documents: int | None) -> AnsweredMessage:
    """The answer of a run that has ended well; `documents` are those that may be cited."""
    return AnsweredMessage(
        id=message_id(job.session_id),
        model=answering_models(result),
        content=list(answer_blocks(result, documents)),
        stop_reason=stop_reason(result),
        usage=usage(result),
        rlm=numbers(result),
    )


def message_id(session_id: str) -> str:
    """The id of a message; what follows the underscore is the session's id."""
    return f"msg_{session_id}"


def answer_blocks(result: RunResult, documents: int | None) -> Iterator[AnswerBlock]:
    """The answer in parts, each with the verified citations that it rests on."""
    answer = result.answer or ""
    if documents is None:
        yield from [AnswerBlock(text=answer)] if answer else []
        return
    cited = [one for one in result.citations if one.verified and one.document_index < documents]
    claims = [
        Mark(number, one.answer_start, one.answer_end, verified=True)
        for number, one in enumerate(cited)
        if one.answer_start is not None and one.answer_end is not None
    ]
    # What is not said to be for a part of the answer is for all of it, which ends with the last part.
    loose = [one for one in cited if one.answer_start is None or one.answer_end is None]
    parts = list(segments(answer, claims))
    for at, part in enumerate(parts, start=1):
        found = [cited[mark.number] for mark in part.marks] + (loose if at == len(parts) else [])
        yield AnswerBlock(text=part.text, citations=[_location(one) for one in found] or None)


def stop_reason(result: RunResult) -> StopReason:
    """`max_tokens` where any limit kept the run from its end."""
    return "max_tokens" if result.truncated else "end_turn"


def usage(result: RunResult) -> MessageUsage:
    return MessageUsage(
        input_tokens=result.total_input_tokens - result.cached_input_tokens,
        cache_read_input_tokens=result.cached_input_tokens,
        output_tokens=result.total_output_tokens,
        output_tokens_details=OutputDetails(thinking_tokens=result.reasoning_tokens),
    )


def numbers(result: RunResult) -> MessageNumbers:
    """Everything about a run but its answer."""
    return MessageNumbers.model_validate(
        result.model_dump(by_alias=True, exclude_none=True, exclude={"answer", "success"})
    )


def counted(sent: CountRequest) -> int:
    """About how many tokens a request has."""
    said = [one for one in sent.messages if one.role != "system"]
    texts = [sent.system_text(), *(text for one in said for text in one.texts())]
    for block in _documents(sent):
        texts += [block.text, block.title or "", block.context or ""]
    return sum(map(TokenEstimator().estimate, texts)) + TOKENS_PER_MESSAGE * (len(sent.messages) + 1)


def _location(one: Citation) -> CharLocation:
    return CharLocation(
        cited_text=one.cited_text,
        document_index=one.document_index,
        document_title=one.document_title,
        start_char_index=one.start_char_index,
        end_char_index=one.end_char_index,
    )


def _config(sent: MessagesRequest, catalog: Catalog) -> RunConfig:
    chosen: dict[str, object] = dict(model_choice(sent.model, catalog))
    chosen["max_output_tokens"] = min(MAX_OUTPUT_TOKENS, sent.max_tokens)
    if sent.temperature is not None:
        chosen["temperature"] = sent.temperature
    if sent.output_config is not None and sent.output_config.effort is not None:
        chosen["reasoning_effort"] = sent.output_config.effort
    own = sent.rlm or RunConfig()
    return RunConfig.model_validate({**chosen, **{name: getattr(own, name) for name in own.model_fields_set}})


def _documents(sent: CountRequest) -> list[DocumentBlock]:
    return [block for one in sent.messages for block in one.documents()]


def _context_and_query(sent: MessagesRequest, system: str) -> tuple[list[Document], str]:
    *earlier, last = sent.messages
    texts = last.texts()
    if not texts:
        raise InvalidRequest.at(f"messages.{len(earlier)}.content", "holds no text that asks something")
    found = [_document(number, block) for number, block in enumerate(_documents(sent), start=1)]
    found += _beside(sent)
    found += [Document(name="system", text=system)] if system.strip() else []
    for number, one in enumerate(earlier, start=1):
        found += _named(f"message {number} ({one.role})", one.texts()) if one.role != "system" else []
    name = f"message {len(sent.messages)} (user)"
    found += _named(name, texts)[:-1]
    query = texts[-1]
    # A message that stands alone is its own context, and so is one that is a text and a question at once.
    if not any(document.text.strip() for document in found) or len(query) > MAX_QUERY_CHARACTERS:
        found.append(_named(name, texts)[-1])
    return found, excerpt(query)


def _document(number: int, block: DocumentBlock) -> Document:
    return Document(name=block.title or f"document {number}", text=block.text)


def _beside(sent: MessagesRequest) -> list[Document]:
    """What was said beside documents, which is not theirs and not cited."""
    numbered = enumerate(_documents(sent), start=1)
    return [Document(name=f"about document {at}", text=block.context) for at, block in numbered if block.context]


def _named(name: str, texts: list[str]) -> list[Document]:
    if len(texts) == 1:
        return [Document(name=name, text=texts[0])]
    return [Document(name=f"{name}, part {part}", text=text) for part, text in enumerate(texts, start=1)]
