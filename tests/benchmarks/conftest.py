"""The benchmarks are not installed: they are found at the root of the checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))
