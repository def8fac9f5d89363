"""What the tests of real components share."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def go(program: Callable[..., str]) -> str:
    """Return the Go compiler that builds the peers."""
    return program("go", remedy="Go 1.26 or newer builds the Collector, Jaeger and Kubernetes")
