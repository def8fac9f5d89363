"""The builders that these tests share."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "graph"), str(Path(__file__).parents[1])]
