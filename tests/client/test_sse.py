"""The event-stream decoder, held to the HTML standard's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_client._events import ServerSentEvent, SSEDecoder


def _all(*pieces: bytes) -> list[tuple[str, str, str | None]]:
    decoder = SSEDecoder()
    return [(event.event, event.data, event.id) for piece in pieces for event in decoder.feed(piece)]


CASES = [
    (b"data: a\n\n", [("message", "a", None)]),
    (b"\xef\xbb\xbfdata: a\n\n", [("message", "a", None)]),
    (b"data:a\ndata:  b\ndata\n\n", [("message", "a\n b\n", None)]),
    (b": note\n\nevent: x\n\n", []),
    (b"event: x\r\ndata: 1\r\n\r\n", [("x", "1", None)]),
    (b"event: x\rdata: 1\r\r", [("x", "1", None)]),
    (b"id: 1\ndata: a\n\ndata: b\n\n", [("message", "a", "1"), ("message", "b", "1")]),
    (b"id: 1\n\nid: a\0b\ndata: c\n\n", [("message", "c", "1")]),
    (b"data: a\n", []),
    (b"strange: a\ndata: b\n\n", [("message", "b", None)]),
    ("data: Zoë\u2028🥊\n\n".encode(), [("message", "Zoë\u2028🥊", None)]),
]


@pytest.mark.parametrize(("stream", "events"), CASES)
def test_standard_cases(stream: bytes, events: list[tuple[str, str, str | None]]) -> None:
    assert _all(stream) == events


@pytest.mark.parametrize(("stream", "events"), CASES)
def test_cut_at_every_byte(stream: bytes, events: list[tuple[str, str, str | None]]) -> None:
    assert _all(*[bytes([byte]) for byte in stream]) == events


@given(
    st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"), max_size=40), max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.integers(1, 7),
)
def test_any_text_survives(texts: list[str], newline: str, step: int) -> None:
    frames = [newline.join(f"data: {line}" for line in text.split("\n")) + newline * 2 for text in texts]
    stream = "".join(frames).encode()

    events = _all(*[stream[at : at + step] for at in range(0, len(stream), step)])

    assert [data for _, data, _ in events] == texts


def test_last_id_resumed() -> None:
    decoder = SSEDecoder("7")

    assert decoder.feed(b"retry: 1500\nretry: soon\ndata: a\n\n") == [ServerSentEvent("message", "a", "7")]
