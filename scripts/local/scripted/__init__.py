"""The language model of the tests: answers by rule, fails on order, and keeps a log."""
