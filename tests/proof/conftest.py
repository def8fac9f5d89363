"""Proofs: properties at a size that takes hours (`proof_scale`)."""

from __future__ import annotations

import sys
from pathlib import Path

# The mutations and examples of tests/tracer serve here as well, and the benchmarks, which are not installed.
sys.path[:0] = [str(Path(__file__).parents[1] / "tracer"), str(Path(__file__).parents[2])]
