"""The REPL: what the root model is told, what it writes, and how its cells are run, written down and replayed."""
