"""What a question will roughly cost, before it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from rlm_client._models import ModelInfo, RLMConfig, RunDefaults

# English prose and source code; what the models report afterwards is what is paid.
CHARACTERS_PER_TOKEN = 4
PROMPT_TOKENS = 300
NOTE_TOKENS = 250
ANSWER_TOKENS = 500
# What the Worker keeps of a sub-model's window: for the note, and because token counts are guesses.
LONGEST_NOTE_TOKENS = 512
WINDOW_SHARE, GUESS_MARGIN = 0.9, 1.08

ROOT_MODEL, SUB_MODEL = "llama-3.1-70b", "llama-3.1-8b"
CHUNK_SIZE, MAX_SUB_CALLS = 50_000, 100


@dataclass(frozen=True, slots=True)
class Wish:
    """The options that a cost depends on; None stands for what a Worker does when nobody says."""

    strategy: str | None = None
    root_model: str | None = None
    sub_model: str | None = None
    chunk_size: int | None = None
    max_sub_calls: int | None = None
    max_output_tokens: int | None = None

    @classmethod
    def of(cls, config: RLMConfig, defaults: RunDefaults) -> Wish:
        """Return what a run will get that asks for `config` from a deployment with such defaults."""
        return cls(
            config.strategy or defaults.strategy,
            config.root_model or defaults.root_model,
            config.sub_model or defaults.sub_model,
            config.chunk_size or defaults.chunk_size,
            defaults.max_sub_calls if config.max_sub_calls is None else config.max_sub_calls,
            config.max_output_tokens or defaults.max_output_tokens,
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """A guess: `cost_usd` is None where none can be made, and `chunks` is 0 where nothing is cut."""

    strategy: str
    tokens: int
    chunks: int
    root: ModelInfo | None
    sub: ModelInfo | None
    cost_usd: float | None

    @property
    def dated(self) -> str | None:
        """The day of the prices that it rests on."""
        return self.root.dated if self.root else None


def estimate(characters: int, wish: Wish, models: Sequence[ModelInfo]) -> Estimate:
    """Guess how a context of so many characters will be read, and what for."""
    root, sub = _named(wish.root_model or ROOT_MODEL, models), _named(wish.sub_model or SUB_MODEL, models)
    tokens = -(-characters // CHARACTERS_PER_TOKEN)
    strategy = _strategy(characters, tokens, wish, root)
    chunks = _chunks(characters, tokens, wish, sub) if strategy == "map_reduce" else 0
    return Estimate(strategy, tokens, chunks, root, sub, _cost(strategy, tokens, chunks, root, sub))


def _named(name: str, models: Sequence[ModelInfo]) -> ModelInfo | None:
    return next((model for model in models if name == model.id or name in model.aliases), None)


def _strategy(characters: int, tokens: int, wish: Wish, root: ModelInfo | None) -> str:
    if wish.strategy not in (None, "auto"):
        return wish.strategy or "auto"
    window = root.window if root and root.window else tokens + PROMPT_TOKENS + ANSWER_TOKENS
    fits = tokens + PROMPT_TOKENS + ANSWER_TOKENS <= window
    return "direct" if fits and characters <= (wish.chunk_size or CHUNK_SIZE) else "map_reduce"


def _chunks(characters: int, tokens: int, wish: Wish, sub: ModelInfo | None) -> int:
    chunks = -(-characters // (wish.chunk_size or CHUNK_SIZE))
    if sub and sub.window:
        note = min(wish.max_output_tokens or LONGEST_NOTE_TOKENS, sub.window // 4)
        room = max(64, (sub.window - note - PROMPT_TOKENS) * WINDOW_SHARE)
        chunks = max(chunks, ceil(tokens * GUESS_MARGIN / room))
    return min(max(1, chunks), wish.max_sub_calls or MAX_SUB_CALLS)


def _cost(strategy: str, tokens: int, chunks: int, root: ModelInfo | None, sub: ModelInfo | None) -> float | None:
    if root is None or strategy == "repl":
        # What a root model will do in its REPL, nobody knows beforehand.
        return None
    if strategy == "direct":
        return root.cost(tokens + PROMPT_TOKENS, ANSWER_TOKENS)
    read = sub.cost(tokens + chunks * PROMPT_TOKENS, chunks * NOTE_TOKENS) if sub else None
    merged = root.cost(PROMPT_TOKENS + chunks * NOTE_TOKENS, ANSWER_TOKENS)
    return None if read is None or merged is None else read + merged
