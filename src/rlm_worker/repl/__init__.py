"""The REPL: what the root model is shown, what it writes, and how its cells are run, written down and replayed."""
