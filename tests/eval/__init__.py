"""How well prompts and models do on generated questions whose answers are known: `python -m tests.eval --help`."""
