"""The store of an incident that the tests of batch passes share."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_incident import START_NS, telemetry

from hypocenter.tracer.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store of the small incident."""
    store = Store(tmp_path / "store", create=True)
    store.append(telemetry(), arrived_ns=START_NS)
    return store
