"""The judges that are models, and how much each is asked at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rlm_worker.ports import JudgeName


@dataclass(frozen=True, slots=True)
class JudgeKind:
    """What a call to one judge may hold.

    `passage_tokens` is the length of a passage, `query_tokens` what is shown of the query; `texts` are the passages of
    a call. One that sees a `whole_chunk` at a time gets no more than those of it, and no other chunk's. `max_passages`
    of a run are judged: where there are more, each chunk shows some of its own.
    """

    name: JudgeName
    passage_tokens: int
    query_tokens: int
    texts: int
    max_passages: int
    whole_chunk: bool = False


# A window of 512 tokens (not published: the model's own card) holds query and passage; estimates of tokens are for
# other vocabularies, so a quarter is left free. Long passages blur in a vector, so they are as short there, although
# that window holds 8,192. What a decision model cannot hold it cuts silently, and for a while Workers AI read 2,048
# tokens only: it is shown fewer.
_KINDS = (
    JudgeKind("reranker", 280, 100, texts=32, max_passages=6_000),
    JudgeKind("embeddings", 280, 400, texts=31, max_passages=6_000),
    JudgeKind("decision", 280, 400, texts=5, max_passages=1_000, whole_chunk=True),
)
KINDS: Mapping[str, JudgeKind] = {kind.name: kind for kind in _KINDS}
