"""Stores whose disk is slow or full, and the command line with such a store: odd_stores.py STORE collect ..."""

from __future__ import annotations

import errno
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from hypocenter.tracer.store import Store
from hypocenter.tracer.store.remote import store_at


def plain_store(path: str) -> Store:
    """Return the store as it is."""
    return Store(path)


def remote_store(url: str) -> Store:
    """Return the store at a URL."""
    return store_at(url)


class _Slow(Store):
    def append(self, *arguments: Any, **options: Any) -> Any:
        delay = float((self.path.parent / "delay").read_text() or 0)
        time.sleep(delay)
        return super().append(*arguments, **options)


def slow_store(path: str) -> Store:
    """Return a store that waits before each append for the seconds that the file ``delay`` beside it says."""
    return _Slow(path)


def full_store(path: str) -> Store:
    """Return a store on a disk that is full as long as a file ``full`` lies beside it."""
    fsync = os.fsync

    def refusing(descriptor: int) -> None:
        if (Path(path).parent / "full").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    os.fsync = refusing
    return Store(path)


def power_cut_store(path: str) -> Store:
    """Return a store of which only what was synced is copied to the disk of `power_cut.image` (see there)."""
    import power_cut

    power_cut.install(Path(path))
    return Store(path)


if __name__ == "__main__":
    import odd_stores

    from hypocenter.cli.main import main
    from hypocenter.tracer.collect import service

    opened = getattr(odd_stores, sys.argv.pop(1))
    if opened is odd_stores.power_cut_store:
        import power_cut

        power_cut.install(Path(sys.argv[sys.argv.index("--store") + 1]))
    with mock.patch.object(service, "Collector", partial(service.Collector, open_store=opened)):
        main()
