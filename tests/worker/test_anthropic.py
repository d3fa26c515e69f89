"""Anthropic's own client works unchanged: the real package against the real runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

import anthropic
import httpx
import pytest
from anthropic.types import DocumentBlockParam, Message, MessageParam, TextBlock

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import ChatCall
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from tests.worker.planted import QUESTION, Library, library, notes_of, told

MODEL = "llama-3.1-70b+llama-3.1-8b"
NUMBER = "One of the special magic numbers for {key} is: {value}."
FILLER = "The grass is green and the sky is blue. "

pytestmark = pytest.mark.worker


@pytest.fixture
def client(worker: DevProcess, scripted: ScriptedModel) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=worker.url, api_key="any", max_retries=0, timeout=120) as found:
        yield found


@pytest.fixture
async def async_client(worker: DevProcess, scripted: ScriptedModel) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=worker.url, api_key="any", max_retries=0, timeout=120) as found:
        yield found


def document(text: str, title: str | None = None, *, cited: bool = True) -> DocumentBlockParam:
    block = DocumentBlockParam(
        type="document", source={"type": "text", "media_type": "text/plain", "data": text}, citations={"enabled": cited}
    )
    return {**block, "title": title} if title else block


def asked(question: str, *documents: DocumentBlockParam) -> list[MessageParam]:
    return [{"role": "user", "content": [*documents, {"type": "text", "text": question}]}]


def number(key: str, value: int, characters: int = 2_000) -> str:
    filler = FILLER * (characters // len(FILLER) // 2)
    return filler + NUMBER.format(key=key, value=value) + " " + filler


def texts(message: Message) -> list[TextBlock]:
    assert all(isinstance(block, TextBlock) for block in message.content)
    return [block for block in message.content if isinstance(block, TextBlock)]


def said(message: Message) -> str:
    return "".join(block.text for block in texts(message))


def teach(scripted: ScriptedModel, planted: Library, named: int) -> str:
    """Readers quote what was planted, the root model tells some of it."""
    answer = told(planted.facts[:named])

    def reply(call: ChatCall) -> str:
        return notes_of(call.text) if "NONE" in call.text else answer

    scripted.rules = [reply]
    return answer


def check_citations(planted: Library, message: Message, named: int) -> None:
    """Every citation's slice is the source's, and each planted fact that is told is cited at its place."""
    found = [one for block in texts(message) for one in block.citations or []]
    places = set()
    for one in found:
        assert one.type == "char_location"
        name, source = planted.documents[one.document_index]
        assert one.document_title == name
        assert source[one.start_char_index : one.end_char_index] == one.cited_text
        places.add((one.document_index, one.start_char_index, one.end_char_index))
    assert places == {fact.span for fact in planted.facts[:named]}


def test_short_document_answers(client: anthropic.Anthropic, scripted: ScriptedModel) -> None:
    done = client.messages.create(
        model=MODEL,
        max_tokens=500,
        system="Answer briefly.",
        messages=asked("What is the special magic number for short?", document(number("short", 4711), cited=False)),
    )
    assert said(done) == NUMBER.format(key="short", value=4711)
    assert done.stop_reason == "end_turn"
    assert texts(done)[0].citations is None
    assert done.usage.input_tokens == sum(entry.call.prompt_tokens for entry in scripted.answered)
    assert done.model_extra is not None
    assert done.model_extra["rlm"]["strategy"] == "direct"
    assert "Answer briefly." in scripted.answered[0].call.text


def test_citations_point_right(client: anthropic.Anthropic, scripted: ScriptedModel) -> None:
    planted = library(documents=8, characters=160_000)
    answer = teach(scripted, planted, named=3)
    documents = [document(text, name) for name, text in planted.documents]
    done = client.messages.create(model=MODEL, max_tokens=500, messages=asked(QUESTION, *documents))
    assert said(done) == answer
    check_citations(planted, done, named=3)
    assert done.model_extra is not None
    assert done.model_extra["rlm"]["strategy"] == "map_reduce"


def test_stream_carries_citations(client: anthropic.Anthropic, scripted: ScriptedModel) -> None:
    planted = library(documents=6, characters=130_000, seed=9)
    answer = teach(scripted, planted, named=2)
    documents = [document(text, name) for name, text in planted.documents]
    with client.messages.stream(model=MODEL, max_tokens=500, messages=asked(QUESTION, *documents)) as stream:
        kinds = [event.type for event in stream]
        done = stream.get_final_message()
    assert said(done) == answer
    check_citations(planted, done, named=2)
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert kinds.index("content_block_start") < kinds.index("content_block_delta") < kinds.index("content_block_stop")
    assert done.stop_reason == "end_turn"
    assert done.usage.input_tokens == sum(entry.call.prompt_tokens for entry in scripted.answered)


def test_stream_brings_pieces(client: anthropic.Anthropic, scripted: ScriptedModel) -> None:
    scripted.rules = [lambda _: "one two three four five six seven eight nine ten"]
    messages: list[MessageParam] = [
        {"role": "user", "content": number("x", 1)},
        {"role": "assistant", "content": "I see."},
        {"role": "user", "content": "Count to ten?"},
    ]
    with client.messages.stream(model=MODEL, max_tokens=500, messages=messages) as stream:
        pieces = list(stream.text_stream)
    assert len(pieces) > 1
    assert "".join(pieces) == "one two three four five six seven eight nine ten"


async def test_async_client_streams(async_client: anthropic.AsyncAnthropic) -> None:
    wanted = asked("What is the special magic number for later?", document(number("later", 99), cited=False))
    async with async_client.messages.stream(model="rlm", max_tokens=200, messages=wanted) as stream:
        done = await stream.get_final_message()
    assert "99" in said(done)


def test_repeated_stream_is_the_same(client: anthropic.Anthropic, scripted: ScriptedModel) -> None:
    """A result that was there before is told as one that is made."""
    wanted = asked("What is the special magic number for twice?", document(number("twice", 22)))
    first = client.messages.create(model=MODEL, max_tokens=300, messages=wanted)
    with client.messages.stream(model=MODEL, max_tokens=300, messages=wanted) as stream:
        again = stream.get_final_message()
    assert said(again) == said(first)
    assert [block.citations for block in texts(again)] == [block.citations for block in texts(first)]
    assert texts(first)[0].citations
    assert len(scripted.answered) == 1
    assert again.usage.input_tokens == 0


def test_earlier_turns_are_read(client: anthropic.Anthropic, scripted: ScriptedModel) -> None:
    messages: list[MessageParam] = [
        {"role": "user", "content": [{"type": "text", "text": "My cat is called Mog."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A fine name."}]},
        {"role": "system", "content": "Answer in one word."},
        *asked("What is my cat called?", document("Dogs bark.", "dogs.txt"), document("   ", "blank.txt")),
    ]
    client.messages.create(model=MODEL, max_tokens=100, messages=messages)
    prompt = scripted.answered[0].call.text
    for part in (
        "My cat is called Mog.",
        "A fine name.",
        "Dogs bark.",
        "message 1 (user)",
        "dogs.txt",
        "Answer in one word.",
    ):
        assert part in prompt


def test_tokens_are_counted(client: anthropic.Anthropic, scripted: ScriptedModel) -> None:
    wanted = asked("What?", document(FILLER * 1_000))
    counted = client.messages.count_tokens(model=MODEL, messages=wanted, system="Be brief.")
    assert 8_000 < counted.input_tokens < 14_000
    assert counted.model_extra == {"estimated": True}
    assert not scripted.calls


def test_schema_and_effort_are_taken(client: anthropic.Anthropic, scripted: ScriptedModel) -> None:
    schema: dict[str, object] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    scripted.rules = [lambda _: '{"n": 7}']
    done = client.messages.create(
        model=MODEL,
        max_tokens=300,
        extra_body={"temperature": 0.5},
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        messages=asked("Which n?", document("n is 7", cited=False)),
    )
    assert said(done) == '{"n": 7}'


REFUSED: Sequence[tuple[dict[str, object], str]] = (
    ({"tools": [{"name": "t", "input_schema": {"type": "object"}}]}, "tools are not supported"),
    ({"stop_sequences": ["x"]}, "stop sequences are not supported"),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "The"}]}, "the last message"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "eA=="}}]}]},
        "only text can be read, not image",
    ),
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "x"}}
                    ],
                }
            ]
        },
        "only text can be read, not base64",
    ),
    ({"messages": [{"role": "user", "content": [document("only a document")]}]}, "holds no text that asks something"),
    ({"messages": asked("q", document("a"), document("b", cited=False))}, "for all documents or for none"),
    (
        {
            "messages": asked("q", document("a")),
            "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        },
        "is not to be had with citations",
    ),
    ({"max_tokens": 0}, "max_tokens"),
    ({"surprise": 1}, "surprise"),
)


@pytest.mark.parametrize(
    ("change", "sentence"), REFUSED, ids=lambda value: value[:30] if isinstance(value, str) else ""
)
def test_what_cannot_be_done_is_refused(
    client: anthropic.Anthropic, scripted: ScriptedModel, change: dict[str, object], sentence: str
) -> None:
    body = {"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": "hello?"}], **change}
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.post("/v1/messages", body=body, cast_to=Message)
    assert sentence in str(refused.value)
    assert refused.value.request_id
    assert not scripted.calls


def test_errors_have_its_form(client: anthropic.Anthropic, scripted: ScriptedModel) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(model="gpt-9", max_tokens=10, messages=asked("q", document("a")))
    assert unknown.value.type == "not_found_error"
    scripted.faults = [Fault(5004)]
    wanted = asked("refused?", document("a", cited=False))
    with pytest.raises(anthropic.InternalServerError) as refused:
        client.messages.create(model=MODEL, max_tokens=10, messages=wanted)
    assert refused.value.type == "api_error"
    scripted.faults = [Fault(5004)]
    with (
        pytest.raises(anthropic.APIStatusError) as broken,
        client.messages.stream(model=MODEL, max_tokens=11, messages=wanted) as stream,
    ):
        stream.get_final_message()
    assert broken.value.type == "api_error"


def test_key_is_asked_for(worker: DevProcess) -> None:
    answer = httpx.post(f"{worker.url}/v1/messages/nowhere", json={})
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"
    assert answer.json()["type"] == "error"
