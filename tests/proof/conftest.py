"""Proofs: properties at a size that takes hours; `HYPOCENTER_PROOF_SCALE` is the share of it that runs, 1 is all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# The mutations and examples of tests/tracer serve here as well, and the benchmarks, which are not installed.
sys.path[:0] = [str(Path(__file__).parents[1] / "tracer"), str(Path(__file__).parents[2])]


@pytest.fixture(scope="session")
def scaled() -> Callable[[int], int]:
    """Return a function that gives the part of a full size to run, at least one; a twentieth by default."""
    share = float(os.environ.get("HYPOCENTER_PROOF_SCALE", "0.05"))
    return lambda full: max(1, round(full * share))
