"""A rough guess, before a run, at what it will cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from rlm_client._models import ModelInfo, RLMConfig, Routing, RunDefaults

# English prose and source code; what the models report afterwards is what is paid.
CHARACTERS_PER_TOKEN = 4
PROMPT_TOKENS = 300
NOTE_TOKENS = 250
ANSWER_TOKENS = 500
# What the Worker keeps of a sub-model's window: for the note, and because token counts are guesses.
MAX_NOTE_TOKENS = 512
WINDOW_SHARE, GUESS_MARGIN = 0.9, 1.08

ROOT_MODEL, SUB_MODEL = "llama-3.1-70b", "llama-3.1-8b"
CHUNK_SIZE, MAX_SUB_CALLS = 50_000, 100


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


def with_defaults(config: RLMConfig, defaults: RunDefaults) -> RLMConfig:
    """Return a run's options, with the deployment's defaults wherever they are silent."""
    silent = {name: getattr(defaults, name) for name in RunDefaults.model_fields if getattr(config, name) is None}
    return config.model_copy(update=silent)


def routed(config: RLMConfig, routing: Routing) -> RLMConfig:
    """Return a run's options with what the Worker's rules have chosen for it."""
    chosen = {"strategy": routing.strategy, "root_model": routing.root_model, "sub_model": routing.sub_model}
    return config.model_copy(update={name: value for name, value in chosen.items() if value})


def estimate(characters: int, config: RLMConfig, models: Sequence[ModelInfo]) -> Estimate:
    """Guess how a context of so many characters will be read, and what for."""
    root, sub = _named(config.root_model or ROOT_MODEL, models), _named(config.sub_model or SUB_MODEL, models)
    tokens = -(-characters // CHARACTERS_PER_TOKEN)
    strategy = _strategy(characters, tokens, config, root)
    chunks = _chunks(characters, tokens, config, sub) if strategy == "map_reduce" else 0
    return Estimate(strategy, tokens, chunks, root, sub, _cost(strategy, tokens, chunks, root, sub))


def _named(name: str, models: Sequence[ModelInfo]) -> ModelInfo | None:
    return next((model for model in models if name == model.id or name in model.aliases), None)


def _strategy(characters: int, tokens: int, config: RLMConfig, root: ModelInfo | None) -> str:
    if config.strategy is not None and config.strategy != "auto":
        return config.strategy
    window = root.window if root and root.window else tokens + PROMPT_TOKENS + ANSWER_TOKENS
    fits = tokens + PROMPT_TOKENS + ANSWER_TOKENS <= window
    return "direct" if fits and characters <= (config.chunk_size or CHUNK_SIZE) else "map_reduce"


def _chunks(characters: int, tokens: int, config: RLMConfig, sub: ModelInfo | None) -> int:
    chunks = -(-characters // (config.chunk_size or CHUNK_SIZE))
    if sub and sub.window:
        note = min(config.max_output_tokens or MAX_NOTE_TOKENS, sub.window // 4)
        room = max(64, (sub.window - note - PROMPT_TOKENS) * WINDOW_SHARE)
        chunks = max(chunks, ceil(tokens * GUESS_MARGIN / room))
    return min(max(1, chunks), config.max_sub_calls or MAX_SUB_CALLS)


def _cost(strategy: str, tokens: int, chunks: int, root: ModelInfo | None, sub: ModelInfo | None) -> float | None:
    if root is None or strategy not in ("direct", "map_reduce"):
        # What a root model will do in its REPL, nobody knows beforehand.
        return None
    if strategy == "direct":
        return root.cost(tokens + PROMPT_TOKENS, ANSWER_TOKENS)
    read = sub.cost(tokens + chunks * PROMPT_TOKENS, chunks * NOTE_TOKENS, calls=chunks) if sub else None
    merged = root.cost(PROMPT_TOKENS + chunks * NOTE_TOKENS, ANSWER_TOKENS)
    return None if read is None or merged is None else read + merged
