"""What the reader of a chunk is asked, and what comes of its reply: for a run, its cache and its trajectory alike."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.messages import Message, ModelSpec
from rlm_worker.runs.run import Run
from rlm_worker.tables.prompts import line_messages, reading_messages
from rlm_worker.tables.reading import Reading, read_json, read_lines
from rlm_worker.tables.records import records_of
from rlm_worker.tables.schema import Plan, parse_schema
from rlm_worker.tables.verify import Verified, verify
from rlm_worker.text.chunks import Chunk

# A reader writes about as many tokens as it reads, and rather more where columns are many.
READER_OUTPUT_TOKENS = 4_096
# Models of that many billion parameters write lines better than JSON.
_WEAK_BILLIONS = 3.5
_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Extraction:
    """What all readers of a run are asked: the plan, in lines or in JSON, and how many tokens a reply may have."""

    plan: Plan
    lines: bool
    output_tokens: int
    owner: str

    @classmethod
    def of(cls, run: Run, plan: Plan) -> Extraction:
        return cls(plan, is_weak(run.sub) and plan.schema.fits_lines, _output_tokens(run), run.job.owner)

    def messages(self, chunk: Chunk) -> tuple[Message, ...]:
        """The prompt for one chunk."""
        if self.lines:
            records = records_of(_seen(chunk).text)
            return line_messages(self.plan.extract, self.plan.schema.tables[0], records, owner=self.owner)
        return reading_messages(self.plan.extract, self.plan.schema, chunk, owner=self.owner)

    def response_schema(self) -> dict[str, object] | None:
        """What a reply is held to where the model can be."""
        return None if self.lines else self.plan.schema.reply_schema()

    def verified(
        self, reply: str, chunk: Chunk, documents: Documents, *, cut: bool, number: int, question: str
    ) -> tuple[Reading, Verified]:
        """What a reply says, and what of it stands in the chunk; `number` is that of the reading."""
        seen, schema = _seen(chunk), self.plan.schema
        reading = read_lines(reply, schema, records_of(seen.text), cut=cut) if self.lines else None
        reading = reading or read_json(reply, schema, cut=cut)
        return reading, verify(reading, seen, schema, documents, question=question, chunk=number)

    def to_json(self) -> str:
        """What `from_json` reads beside the owner, who is not written down."""
        told = {"extract": self.plan.extract, "schema": self.plan.schema.to_wire()}
        return json.dumps(told | {"lines": self.lines, "outputTokens": self.output_tokens}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, owner: str) -> Extraction:
        told = json.loads(text)
        return cls(Plan(told["extract"], parse_schema(told["schema"])), told["lines"], told["outputTokens"], owner)


def is_weak(model: ModelSpec) -> bool:
    """Whether a model's name says that it is a small one."""
    told = _SIZE.findall(model.id.replace("-", " ").replace("_", " "))
    sizes = [float(size) / (1_000 if unit in "mM" else 1) for size, unit in told]
    return bool(sizes) and max(sizes) <= _WEAK_BILLIONS


def _output_tokens(run: Run) -> int:
    if run.job.config.max_output_tokens is not None:
        return run.sub_output
    return max(run.sub_output, min(READER_OUTPUT_TOKENS, run.sub.window // 4))


def _seen(chunk: Chunk) -> Seen:
    return Seen.of(chunk.pieces, chunk.overlap)
