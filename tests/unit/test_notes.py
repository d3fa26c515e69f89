"""What code counts of readers' notes: places in the text, however often and by whomever a line was written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.strategies.notes import Note, Parts, counted, numbered, quotes_in
from rlm_worker.strategies.prompts import is_no_evidence, synthesize_messages
from rlm_worker.testing import FunctionModel, memory_ports, reply_of
from rlm_worker.text.chunks import Chunk, Piece
from rlm_worker.wire.results import RunResult

RunOn = Callable[..., Awaitable[RunResult]]

OPENED = "At 6 o'clock the north gate was opened."
CLOSED = "At 9 o'clock the north gate was closed."


def chunk_of(text: str, start: int = 0, overlap: str = "") -> Chunk:
    return Chunk(0, start, start + len(text), (Piece(0, None, start, text),), overlap)


def note_of(note: str, chunk: Chunk) -> Note:
    return Note(chunk.start, chunk.end, note, quotes_in(note, chunk))


def test_equal_lines_count_separately() -> None:
    """A reader that writes an equal line down once has quoted all places where it stands."""
    note = note_of(OPENED, chunk_of(f"{OPENED}\nIt rained.\n{OPENED}\n{CLOSED}\n{OPENED}"))
    assert counted([note]) == 3
    assert numbered([note]) == [f"(1 to 3, at 3 places) {OPENED}"]


def test_repeats_do_not_count_twice() -> None:
    note = note_of(f'- {OPENED}\n- {OPENED}\n2. "{CLOSED}"', chunk_of(f"{OPENED} {CLOSED} {OPENED}"))
    assert counted([note]) == 3
    assert numbered([note]) == [f"(1 to 2, at 2 places) {OPENED}\n(3) {CLOSED}"]


def test_overlap_counts_once() -> None:
    """What two readers have seen is one place."""
    first = chunk_of(f"It rained. {OPENED}")
    second = chunk_of(f" {CLOSED} {OPENED}", first.end, overlap=OPENED)
    notes = [note_of(OPENED, first), note_of(f"{OPENED}\n{CLOSED}", second)]
    assert counted(notes) == 3
    assert numbered(notes) == [f"(1) {OPENED}", f"(2) {OPENED}\n(3) {CLOSED}"]


def test_inner_quotation_counts_once() -> None:
    chunk = chunk_of(f"{OPENED} Then it rained.")
    assert counted([note_of(f"{OPENED}\nthe north gate was opened.", chunk)]) == 1


def test_words_of_its_own_have_no_number() -> None:
    """What a reader has made up or put into its own words is shown as it is, and not counted."""
    note = note_of(f"UNSURE: maybe this: the gate.\n{OPENED}\n* Two events.", chunk_of(OPENED))
    assert numbered([note]) == [f"UNSURE: maybe this: the gate.\n(1) {OPENED}\n* Two events."]


def test_doubt_is_no_count() -> None:
    """What its reader doubted is shown, marked so, and not counted; doubted nothing is nothing."""
    note = note_of(f"UNSURE: {OPENED}\n{CLOSED}", chunk_of(f"{OPENED} {CLOSED}"))
    assert numbered([note]) == [f"UNSURE: {OPENED}\n(1) {CLOSED}"]
    assert is_no_evidence("UNSURE: NONE")
    assert not is_no_evidence(f"UNSURE: {OPENED}")


def test_digits_stay_whole() -> None:
    assert counted([note_of("6 o'clock the north gate was opened.", chunk_of(f"At 1{OPENED[3:]}"))]) == 0


@given(
    st.lists(st.sampled_from([OPENED, CLOSED, "It rained all day long."]), min_size=1, max_size=12), st.integers(1, 9)
)
def test_numbers_are_places(lines: list[str], cut: int) -> None:
    """However the text is cut between lines, and whoever quotes all of them: as many places as there are lines."""
    text, notes, at = "\n".join(lines), [], 0
    for start in range(0, len(lines), cut):
        part = "\n".join(lines[start : start + cut])
        notes.append(note_of(part, chunk_of(part, at)))
        at += len(part) + 1
    assert counted(notes) == len(lines)
    assert len(text) == at - 1
    assert f"{len(lines)} numbered quotation" in synthesize_messages("?", notes, 1.0)[1].content


def test_figures_stand_outside() -> None:
    """What was read is told by code, behind the last marker."""
    notes = [note_of(OPENED, chunk_of(f"{OPENED} {OPENED}"))]
    prompt = synthesize_messages("How often?", notes, 1.0, parts=Parts(4, 3, 1))[1].content
    told = "(4 parts read; 3 had nothing; 1 failed; 2 numbered quotations.) "
    assert prompt.rpartition(" >>>>>>\n")[2] == f"\nQuestion: How often?\n{told}Answer:"


async def test_root_is_told_what_was_read(run_on: RunOn) -> None:
    lines = [f"{OPENED}\n" if number % 40 == 0 else f"{number}. It rained all day long.\n" for number in range(4_000)]

    def finder(request: ModelRequest) -> ModelReply:
        if request.kind != "map":
            return reply_of(request, "100 times")
        return reply_of(request, OPENED if OPENED in request.messages[1].content else "NONE")

    model = FunctionModel(finder)
    result = await run_on(memory_ports(model), "".join(lines), "How often?", chunkSize=10_000, chunkOverlap=500)
    (final,) = model.asked("synthesize")
    assert (
        f"({result.chunks} parts read; 0 had nothing; 0 failed; 100 numbered quotations.)" in final.messages[1].content
    )
