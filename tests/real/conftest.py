"""What the tests of real components share."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from object_storage import Bucket, serving
from playwright.sync_api import Browser, sync_playwright


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests out by file, cluster and lab, where several workers run them."""
    from one_at_a_time import OneAtATime

    return OneAtATime(config, log)


@pytest.fixture(scope="session")
def go(program: Callable[..., str]) -> str:
    """Return the Go compiler that builds the peers."""
    return program("go", remedy="Go 1.26 or newer builds the Collector, Jaeger and Kubernetes")


@pytest.fixture(scope="module")
def bucket(go: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """Yield a bucket on a server of S3, for the tests of a file."""
    with serving(go, tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture
def url(bucket: Bucket, request: pytest.FixtureRequest) -> str:
    """Return a place of the test's own in the bucket."""
    return bucket.url(request.node.name)


@pytest.fixture
def browser(program: Callable[..., str]) -> Iterator[Browser]:
    """Yield a headless Chromium that asks nobody for anything."""
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=program("chromium"), args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe(program: Callable[..., str]) -> str:
    """Return the script of axe-core."""
    return (installed(program("npm"), "accessibility") / "axe-core/axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def mermaid(program: Callable[..., str]) -> str:
    """Return the script of Mermaid."""
    return (installed(program("npm"), "mermaid") / "mermaid/dist/mermaid.min.js").read_text(encoding="utf-8")


def installed(npm: str, name: str) -> Path:
    """Return ``node_modules`` of a folder beside this file, installed once by its lock file, outside the tree."""
    source = Path(__file__).with_name(name)
    key = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hypocenter"
    folder = cache / f"{name}-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = folder.with_suffix(".new")
            shutil.rmtree(making, ignore_errors=True)
            shutil.copytree(source, making)
            subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=making, check=True)
            making.rename(folder)
    return folder / "node_modules"
