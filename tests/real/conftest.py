"""What the tests of real components share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="session")
def go(program: Callable[..., str]) -> str:
    """Return the Go compiler that builds the peers."""
    return program("go", remedy="Go 1.26 or newer builds the Collector, Jaeger and Kubernetes")


@pytest.fixture
def browser(program: Callable[..., str]) -> Iterator[Browser]:
    """Yield a headless Chromium that asks nobody for anything."""
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=program("chromium"), args=flags)
        yield chromium
        chromium.close()
