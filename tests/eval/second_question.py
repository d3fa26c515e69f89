"""How much faster a second question about a text is on a server that keeps prefixes: asked of a local model."""

from __future__ import annotations

import argparse
import random
import sys
import time

from .__main__ import served_model
from .chat import Chat
from .suites import Case
from .texts import around
from .variants import VARIANTS

_QUESTIONS = ("Who wrote a letter?", "What was repaired?")


def main() -> None:
    """Prints, for the question before the text and behind it, what two questions about a text took."""
    parser = argparse.ArgumentParser(prog="python -m tests.eval.second_question", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--characters", type=int, default=4_000)
    parser.add_argument("--texts", type=int, default=3)
    options = parser.parse_args()
    with served_model(options.model) as server:
        for number in range(options.texts):
            for name in ("before", "after"):
                text = around((), options.characters, random.Random(f"{number} {name}"))
                sys.stdout.write(f"{name}: {'; '.join(_asked(server, name, text))}\n")
                sys.stdout.flush()


def _asked(server: Chat, variant: str, text: str) -> list[str]:
    told = []
    for question in _QUESTIONS:
        started = time.monotonic()
        said = server.ask(VARIANTS[variant].reading(Case("second", 0, text, question)), max_tokens=1)
        seconds = time.monotonic() - started
        told.append(f"{seconds:.1f} s, {said.cached_tokens} of {said.input_tokens} tokens kept")
    return told


if __name__ == "__main__":
    main()
