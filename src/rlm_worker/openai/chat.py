"""A chat completion as a run, and a run as a chat completion.

The last message is the query; all before it is the context, each message a named document. What the developer and the
system say is how to answer; only where it is longer than any instructions, a text in their place, it is context too.
"""

from __future__ import annotations

from rlm_worker import __version__
from rlm_worker.errors import InvalidRequest
from rlm_worker.models.catalog import Catalog
from rlm_worker.runs.job import Job
from rlm_worker.wire.requests import (
    MAX_OUTPUT_TOKENS,
    MAX_QUERY_CHARACTERS,
    Document,
    RunConfig,
    RunRequest,
    with_defaults,
)
from rlm_worker.wire.results import RunResult

from .models import model_choice
from .schemas import (
    Annotation,
    AnswerMessage,
    ChatCompletion,
    ChatMessage,
    ChatRequest,
    Choice,
    CompletionDetails,
    FinishReason,
    PromptDetails,
    RunNumbers,
    UrlCitation,
    Usage,
)

FINGERPRINT = f"rlm-worker-{__version__}"
# Of a message too long for a query: what is asked stands at its head or at its end as a rule.
_HEAD_CHARACTERS, _TAIL_CHARACTERS = 1_000, 3_000
_INSTRUCTING = frozenset(("system", "developer"))
_GAP = "\n\n[…]\n\n"


def run_request(chat: ChatRequest, defaults: RunConfig, catalog: Catalog) -> RunRequest:
    """The run that a chat completion asks for; raises `InvalidRequest` or `UnknownModel`."""
    instructions = _instructions(chat.messages)
    documents, query = _context_and_query(chat.messages, without=_INSTRUCTING if instructions else frozenset())
    return RunRequest(
        context=list(documents),
        query=query,
        config=with_defaults(_config(chat, catalog), defaults),
        response_schema=chat.response_format.schema_of_answer() if chat.response_format else None,
        instructions=instructions or None,
        stream=chat.stream,
    )


def completion(result: RunResult, job: Job, created: int) -> ChatCompletion:
    """The answer of a run that has ended well."""
    message = AnswerMessage(content=result.answer or "", annotations=annotated(result))
    choice = Choice(message=message, finish_reason=finish_reason(result))
    return ChatCompletion(
        id=completion_id(job),
        created=created,
        model=answering_models(result),
        choices=[choice],
        usage=usage(result),
        system_fingerprint=FINGERPRINT,
        rlm=numbers(result),
    )


def completion_id(job: Job) -> str:
    """The id of a completion; what follows the dash is the session's id."""
    return f"chatcmpl-{job.session_id}"


def model_name(job: Job) -> str:
    """Root and sub-model by their full ids: a name that can be asked for again."""
    return f"{job.config.root_model}+{job.config.sub_model}"


def answering_models(result: RunResult) -> str:
    """The same of a run that has ended: a task that a model told may have chosen others."""
    return f"{result.root_model}+{result.sub_model}"


def annotated(result: RunResult) -> list[Annotation]:
    """The citations of an answer, as OpenAI has those of web pages."""
    return [
        Annotation(
            url_citation=UrlCitation(
                start_index=one.answer_start or 0,
                end_index=len(result.answer or "") if one.answer_end is None else one.answer_end,
                title=one.document_title or f"document {one.document_index + 1}",
                url=f"rlm:{result.session_id}/documents/{one.document_index}"
                f"#char={one.start_char_index},{one.end_char_index}",
            ),
            char_location=one,
        )
        for one in result.citations
    ]


def finish_reason(result: RunResult) -> FinishReason:
    """`length` where any limit kept the run from its end."""
    return "length" if result.truncated else "stop"


def usage(result: RunResult) -> Usage:
    tokens_in, tokens_out = result.total_input_tokens, result.total_output_tokens
    return Usage(
        prompt_tokens=tokens_in,
        completion_tokens=tokens_out,
        total_tokens=tokens_in + tokens_out,
        prompt_tokens_details=PromptDetails(cached_tokens=result.cached_input_tokens),
        completion_tokens_details=CompletionDetails(reasoning_tokens=result.reasoning_tokens),
    )


def numbers(result: RunResult) -> RunNumbers:
    """Everything about a run but its answer."""
    return RunNumbers.model_validate(result.model_dump(by_alias=True, exclude_none=True, exclude={"answer", "success"}))


def _config(chat: ChatRequest, catalog: Catalog) -> RunConfig:
    limits = [limit for limit in (chat.max_completion_tokens, chat.max_tokens) if limit is not None]
    chosen: dict[str, object] = dict(model_choice(chat.model, catalog))
    if limits:
        chosen["max_output_tokens"] = min(MAX_OUTPUT_TOKENS, *limits)
    if chat.temperature is not None:
        chosen["temperature"] = chat.temperature
    if chat.reasoning_effort is not None:
        chosen["reasoning_effort"] = chat.reasoning_effort
    own = chat.rlm or RunConfig()
    return RunConfig.model_validate({**chosen, **{name: getattr(own, name) for name in own.model_fields_set}})


def _instructions(messages: list[ChatMessage]) -> str:
    """What developer and system say; empty where that is nothing, or too long to be instructions."""
    said = "\n\n".join(text for message in messages if message.role in _INSTRUCTING for text in message.texts())
    return said if len(said) <= MAX_QUERY_CHARACTERS else ""


def _context_and_query(messages: list[ChatMessage], without: frozenset[str]) -> tuple[list[Document], str]:
    *earlier, last = messages
    number = len(messages)
    if last.role != "user":
        raise InvalidRequest.at(f"messages.{number - 1}.role", "the last message must be the user's: it is the query")
    texts = last.texts()
    if not texts:
        raise InvalidRequest.at(f"messages.{number - 1}.content", "is empty")
    kept = [(index, message) for index, message in enumerate(earlier, 1) if message.role not in without]
    documents = [item for index, message in kept for item in _documents(index, message)]
    documents += _documents(number, last)[:-1]
    query = texts[-1]
    # A message that stands alone is its own context, and so is one that is a text and a question at once.
    if not documents or len(query) > MAX_QUERY_CHARACTERS:
        documents.append(_documents(number, last)[-1])
    return documents, excerpt(query)


def _documents(number: int, message: ChatMessage) -> list[Document]:
    texts = message.texts()
    speaker = f"{message.role}, {message.name}" if message.name else message.role
    names = [f"message {number} ({speaker})"]
    if len(texts) > 1:
        names = [f"{names[0]}, part {part}" for part in range(1, len(texts) + 1)]
    return [Document(name=name, text=text) for name, text in zip(names, texts, strict=False)]


def excerpt(message: str) -> str:
    """A message as a query: what is too long for one by its head and its end."""
    if len(message) <= MAX_QUERY_CHARACTERS:
        return message
    return f"{message[:_HEAD_CHARACTERS]}{_GAP}{message[-_TAIL_CHARACTERS:]}"
