"""A language model for tests: it answers by rule, fails on order and keeps a log."""
