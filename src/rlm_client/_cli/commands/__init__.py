"""The commands of `rlm`, a module for those that belong together."""
