"""Benchmarks: `python -m tests.bench.<name>` prints a table; none is part of the test run."""

import sys
from pathlib import Path

# Run from a checkout, where nothing is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
