"""Every limit that is kept here, and every one that workerd keeps by itself: what it says, and which test trips it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# "0": the front is left out altogether.
STRICT_VARIABLE = "RLM_STRICT"
ALARM_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Switch:
    """A limit that the front keeps; the var sets it for a local deployment, "0" switches it off.

    `error` is what the platform answers, as far as it is known; empty where calls wait instead.
    """

    variable: str
    default: float
    rule: str
    error: str
    test: str


@dataclass(frozen=True, slots=True)
class KeptRule:
    """A limit that workerd, or miniflare's stand-in for a service, keeps without our doing."""

    keeper: str
    rule: str
    error: str
    test: str


SWITCHES = (
    Switch(
        "RLM_STRICT_ROW_BYTES",
        2_000_000,
        "a value or row of SQLite, or a key with its value, takes 2 MB (workerd: 4 MiB)",
        "string or blob too big: SQLITE_TOOBIG",
        "test_large_rows_are_refused",
    ),
    Switch(
        "RLM_STRICT_SUBREQUESTS",
        10_000,
        "subrequests of an invocation on a paid plan: fetch, KV, R2, queues, AI, calls to objects and Workers",
        "Too many subrequests by single Worker invocation.",
        "test_subrequests_are_counted",
    ),
    Switch(
        "RLM_STRICT_CONNECTIONS",
        6,
        "connections of an invocation, or of an object, that wait for the head of an answer: fetch, KV, R2, queues",
        "",
        "test_seventh_connection_waits",
    ),
    Switch(
        "RLM_STRICT_AI_CONNECTIONS",
        0,
        "1: calls to AI hold connections too; the published list does not name them",
        "",
        "test_models_may_share_connections",
    ),
    Switch(
        "RLM_STRICT_STUB_CONNECTIONS",
        0,
        "1: calls to Durable Objects hold connections too; the published list does not name them",
        "",
        "test_stubs_may_share_connections",
    ),
    Switch(
        "RLM_STRICT_KV_SECONDS",
        1,
        "seconds between two writes of the same key in KV",
        "KV PUT failed: 429 Too Many Requests",
        "test_quick_rewrites_are_refused",
    ),
    Switch(
        "RLM_STRICT_DELETE_KEYS",
        1_000,
        "keys in one call of R2's delete",
        "delete: at most 1000 keys",
        "test_large_deletions_are_refused",
    ),
    Switch(
        "RLM_STRICT_BATCH_BYTES",
        256_000,
        "bytes in one batch of messages to a queue (miniflare: 288,000)",
        "Queue sendBatch failed: Payload Too Large",
        "test_large_batches_are_refused",
    ),
    Switch(
        "RLM_STRICT_POINTS",
        250,
        "data points of Analytics Engine in an invocation",
        "writeDataPoint(): at most 250 data points in an invocation",
        "test_data_points_are_counted",
    ),
    Switch(
        "RLM_STRICT_BLOB_BYTES",
        16_000,
        "bytes in all blobs of a data point (workerd keeps it, miniflare's dataset does not)",
        "writeDataPoint(): Cumulative size of blobs exceeds 16000 bytes",
        "test_large_blobs_are_refused",
    ),
    Switch(
        "RLM_STRICT_INDEX_BYTES",
        96,
        "bytes in the index of a data point (the same)",
        "writeDataPoint(): Size of indexes[0] exceeds 96 bytes",
        "test_long_indexes_are_refused",
    ),
    Switch(
        "RLM_STRICT_SANDBOXES",
        4,
        "distinct Dynamic Workers with requests under way in a request",
        "Too many concurrent dynamic workers",
        "test_sandboxes_of_request_are_counted",
    ),
    Switch(
        "RLM_STRICT_OBJECT_SANDBOXES",
        10,
        "the same of a Durable Object, all its requests together",
        "Too many concurrent dynamic workers",
        "test_sandboxes_of_object_are_counted",
    ),
    Switch(
        "RLM_STRICT_ALARM_SECONDS",
        ALARM_SECONDS,
        "wall time of an alarm; the object is then reset and the alarm tried again, six times (workerd keeps 15 minutes"
        " too, and the six: less is for tests)",
        "Alarm exceeded its allowed execution time",
        "test_long_alarms_are_cut",
    ),
)

KEPT = (
    KeptRule(
        "workerd",
        "32 MiB in a message over RPC, streams excepted",
        "Serialized RPC arguments or return values are limited to 32MiB",
        "test_large_messages_are_refused",
    ),
    KeptRule("workerd", "100 KB in a statement of SQL", "SQLITE_TOOBIG", "test_long_statements_are_refused"),
    KeptRule("workerd", "100 bound values in a statement", "too many SQL variables", "test_many_values_are_refused"),
    KeptRule("workerd", "50 bytes in a pattern of LIKE or GLOB", "too complex", "test_long_patterns_are_refused"),
    KeptRule("workerd", "512 bytes in a key of KV", "414 UTF-8 encoded length", "test_long_keys_are_refused"),
    KeptRule("miniflare", "25 MiB in a value of KV", "413", "test_large_values_are_refused"),
    KeptRule("miniflare", "expirationTtl of 60 seconds and more", "400", "test_short_ttls_are_refused"),
    KeptRule("workerd", "R2 wants the length of a body", "known length", "test_unknown_lengths_are_refused"),
    KeptRule("miniflare", "parts of at least 5 MiB, but the last", "10011", "test_small_parts_are_refused"),
    KeptRule("miniflare", "parts of equal length, but the last", "10048", "test_unequal_parts_are_refused"),
    KeptRule("miniflare", "128 KB in a message of a queue", "(15000)", "test_large_queue_messages_are_refused"),
    KeptRule("miniflare", "100 messages in a batch", "(15000)", "test_long_batches_are_refused"),
    KeptRule("workerd", "an alarm that fails is tried again", "", "test_long_alarms_are_cut"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The switches as one deployment has them; infinite, or False, where they are off."""

    row_bytes: float
    subrequests: float
    connections: int
    ai_connections: bool
    stub_connections: bool
    kv_seconds: float
    delete_keys: float
    batch_bytes: float
    points: float
    blob_bytes: float
    index_bytes: float
    sandboxes: float
    object_sandboxes: float
    alarm_seconds: float

    @classmethod
    def from_vars(cls, read: Callable[[str], str | None]) -> Limits:
        """Reads them by name."""
        values = [_value(switch, read(switch.variable)) for switch in SWITCHES]
        row, requests, connections, ai, stubs, kv, *others = values
        off = float("inf")
        return cls(
            *(row or off, requests or off, int(connections), bool(ai), bool(stubs), kv),
            *(other or off for other in others),
        )


def _value(switch: Switch, text: str | None) -> float:
    return switch.default if text is None else float(text)
