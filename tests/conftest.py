"""What all tests share: the rule for parts of the system that are absent (pytest -ra names them at the end)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from proof_scale import scaled_down

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def program() -> Callable[..., str]:
    """Return a function that finds the first of some programs: absent in CI it fails, elsewhere the test is skipped."""

    def find(*names: str, remedy: str = "`make system` as root installs it") -> str:
        for name in names:
            found = shutil.which(name) or next(
                (str(p) for p in sorted(Path("/usr/lib").glob(name), reverse=True)), None
            )
            if found:
                return found
        message = f"{names[0]} is not installed; {remedy}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)

    return find


@pytest.fixture(scope="session")
def scaled() -> Callable[[int], int]:
    """Return a function that gives the part of a proof's full size to run."""
    return scaled_down


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of the public recordings; tests that need it are skipped where it is not there."""
    named = os.environ.get("HYPOCENTER_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public recordings are not here; HYPOCENTER_SHARED_DATA names their folder")
    return folder
