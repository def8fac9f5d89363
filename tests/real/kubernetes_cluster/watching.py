"""The project's own watch of a real API server, into a real store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from control_plane import ControlPlane

from hypocenter.tracer.batch import Batch
from hypocenter.tracer.kubernetes import Kubernetes, Versions, read_versions, source
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window


class Watching:
    """A watch that runs: its source, and what the store holds."""

    def __init__(self, kubernetes: Kubernetes, store: Store) -> None:
        self.source = kubernetes
        self.store = store

    def put(self, batch: Batch, timeout_s: float | None = None) -> None:
        """Append, as a sink does."""
        self.store.append(batch)

    def versions(self) -> Versions:
        """Return the versions of every object seen so far, in order."""
        return read_versions(self.store, Window(0, 2**62))

    def current(self, kind: str, namespace: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the rows of objects that exist, by name, as the store tells."""
        return {
            row["name"]: row
            for row in self.versions().table.to_pylist()
            if row["kind"] == kind and row["valid_to_ns"] is None and namespace in (None, row["namespace"])
        }


@contextmanager
def watching(plane: ControlPlane, folder: Path, token: str | None = None, **config: Any) -> Iterator[Watching]:
    """Watch into a store below ``folder`` until the block ends; yields when every kind was listed."""
    kubeconfig = plane.write_kubeconfig(folder / "watch.kubeconfig", token or plane.token)
    found = Watching(source({"kubeconfig": str(kubeconfig), **config}), Store(folder / "store", create=True))
    stop = threading.Event()
    thread = threading.Thread(target=found.source.run, args=(found, stop))
    thread.start()
    try:
        plane.wait(found.source.is_ready, f"the watch; it says {found.source.states()}", 60)
        yield found
    finally:
        stop.set()
        thread.join(timeout=60)
        assert not thread.is_alive(), "the watch does not end"
