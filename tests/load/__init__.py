"""Mixed requests for as long as one likes: `.local/venv/bin/python -m tests.load --minutes 30`."""

from __future__ import annotations

import sys
from pathlib import Path

# pytest knows where the Worker's code lies; a module that is run by itself does not.
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
