"""One kind of objects kept up to date: a list in pages, then a watch that resumes where it broke off."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from .api import Api, Opened, Refused
from .kinds import Kind
from .rows import MALFORMED, event_row, gone_row, object_row, version_digest
from .versions import DENIED, LISTED

_log = logging.getLogger(__name__)
Row = dict[str, Any]
Emit = Callable[[Literal["objects", "events"], Row], None]

_PAGE: Final = "500"
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 30.0
# Access may be granted, an API installed, while we run; a role that was made just now takes a moment to count.
_FIRST_DENIED_WAIT_S, _DENIED_WAIT_S = 1.0, 60.0
_GONE: Final = 410


@dataclass
class Watch:
    """Rows of one kind go to ``emit``, changes only; ``state`` and the counts say how it does.

    ``state`` is ``starting``, ``watching``, ``denied``, ``not installed`` or ``retrying``, ``problem`` the last reason.
    Memory is bounded by the objects that exist: a digest and the names of each.
    """

    kind: Kind
    api: Api
    emit: Emit
    source: str
    namespace: str | None = None
    state: str = "starting"
    problem: str | None = None
    lists: int = 0
    received: int = 0
    malformed: int = 0
    restarts: int = 0
    opened: Opened = field(default_factory=Opened)
    _version: str | None = None
    _known: dict[str, tuple[str, Row]] = field(default_factory=dict)
    _wait_s: float = _FIRST_WAIT_S
    _denied_wait_s: float = _FIRST_DENIED_WAIT_S

    def run(self, stop: threading.Event) -> None:
        """List and watch until ``stop`` is set."""
        while not stop.is_set():
            try:
                if self._version is None:
                    self._list()
                began = time.monotonic()
                self._watch()
                if time.monotonic() - began < _FIRST_WAIT_S:
                    # A server that ends every watch at once is not asked in a circle.
                    stop.wait(_FIRST_WAIT_S)
            except Refused as refused:
                self._refused(refused, stop)

    def _refused(self, refused: Refused, stop: threading.Event) -> None:
        if stop.is_set():
            return
        if refused.code == _GONE:
            # What happened in between is found by listing again.
            self._version = None
            self.restarts += 1
            return
        self.problem = str(refused)
        if refused.code in (401, 403):
            if self.state != "denied":
                _log.warning("kubernetes: %s may not be read: %s", self.kind.plural, refused)
                self.emit("events", self._mark(DENIED, time.time_ns(), str(refused)))
            self._version, self.state = None, "denied"
            stop.wait(self._denied_wait_s)
            self._denied_wait_s = min(2 * self._denied_wait_s, _DENIED_WAIT_S)
        elif refused.code == 404:
            self._version, self.state = None, "not installed"
            stop.wait(_DENIED_WAIT_S)
        else:
            self.state = "retrying"
            self.restarts += 1
            stop.wait(self._wait_s * random.uniform(0.5, 1.0))
            self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)

    @property
    def _path(self) -> str:
        return self.kind.path if self.namespace is None else self.kind.path_in(self.namespace)

    def _list(self) -> None:
        listed_ns = time.time_ns()
        is_first, found = self.lists == 0, set()
        parameters = {"limit": _PAGE}
        while True:
            page = self.api.page(self._path, parameters, metadata_only=self.kind.metadata_only)
            for item in page.get("items") or ():
                if uid := self._changed(item, listed_ns):
                    found.add(uid)
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                break
            parameters["continue"] = metadata["continue"]
        for uid in self._known.keys() - found:
            self._gone(uid, listed_ns)
        if is_first:
            # Every object was written just now, so one that is not among them is gone; later lists say so themselves.
            self.emit("events", self._mark(LISTED, listed_ns, f"{len(found)} objects"))
        self._version = str(metadata.get("resourceVersion") or "0")
        self.lists += 1
        self._works()

    def _watch(self) -> None:
        parameters = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "0",
            # Spread, so that the watches of all kinds do not end together.
            "timeoutSeconds": str(random.randint(240, 360)),
        }
        for event in self.api.watch(self._path, parameters, self.opened, metadata_only=self.kind.metadata_only):
            self._works()
            what, obj = event.get("type"), event.get("object") or {}
            if what == "ERROR":
                raise Refused(int(obj.get("code") or 0), str(obj.get("message") or "the watch failed")[:300])
            now_ns = time.time_ns()
            if what == "DELETED":
                self._gone(str((obj.get("metadata") or {}).get("uid")), now_ns)
            elif what in ("ADDED", "MODIFIED"):
                self._changed(obj, now_ns)
            self._version = (obj.get("metadata") or {}).get("resourceVersion") or self._version

    def _works(self) -> None:
        self.state, self.problem = "watching", None
        self._wait_s, self._denied_wait_s = _FIRST_WAIT_S, _FIRST_DENIED_WAIT_S

    def _changed(self, obj: Any, seen_ns: int) -> str | None:
        """Emit the row of an object that changed; return its uid, None for what is no object."""
        self.received += 1
        try:
            if self.kind.name == "Event":
                self.emit("events", event_row(obj, self.source))
                return None
            row = object_row(obj, self.source, seen_ns, kind=self.kind.name)
            now = version_digest(row)
        except MALFORMED as error:
            self.malformed += 1
            self.problem = f"{type(error).__name__}: {str(error)[:100]}"
            return None
        before = self._known.get(row["uid"])
        if before is None or before[0] != now:
            self._known[row["uid"]] = (now, gone_row(row, 0))
            self.emit("objects", row)
        return str(row["uid"])

    def _gone(self, uid: str, at_ns: int) -> None:
        if known := self._known.pop(uid, None):
            self.emit("objects", gone_row(known[1], at_ns))

    def _mark(self, reason: str, at_ns: int, message: str) -> Row:
        return {
            "time_ns": at_ns,
            "kind": "kubernetes",
            "reason": reason,
            "message": message,
            "object_kind": self.kind.name,
            "namespace": self.namespace,
            "source": self.source,
        }
