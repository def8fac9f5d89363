"""Compaction on object storage: the small objects of an hour become few, by as many processes as like.

There is no lock, and none is needed: the same objects make the same larger one, under the same name, and of two records
that replace the same object only the first counts (`RemoteStore.listed`).
"""

from __future__ import annotations

import hashlib
import json
import time

from ..schema import SIGNALS
from ..window import MINUTE_NS
from . import changes
from .compact import GRACE_NS, Compaction, groups, in_order, readable
from .remote import RemoteStore, answering, put
from .segment import COMPACTED, SUFFIX, Segment

# A PUT that was begun before an hour ended is there, or was given up, by then.
_SETTLED_NS = 10 * MINUTE_NS


def compact_hours(store: RemoteStore, *, now_ns: int | None = None, grace_ns: int = GRACE_NS) -> Compaction:
    """Replace the small segments of each past hour by larger ones; delete what was replaced ``grace_ns`` ago.

    Every reader sees each row once at any moment, whatever is cut. A damaged segment stays as it is.

    Raises SourceError when the storage does not answer (retryable).
    """
    now = time.time_ns() if now_ns is None else now_ns
    done = Compaction()
    for signal in SIGNALS:
        _delete_replaced(store, signal, now - grace_ns)
        for group in groups(store.segments(signal), now - _SETTLED_NS, live=False):
            done += _merge(store, signal, group, now)
    return done


def _delete_replaced(store: RemoteStore, signal: str, before_ns: int) -> None:
    files, records = store.listed(signal)
    for record in records:
        for path in record.removes if record.at_ns < before_ns else ():
            if f"{store.path}/{signal}/{path}" in files:
                with answering(store.url):
                    store.storage.delete_file(f"{store.path}/{signal}/{path}")


def _merge(store: RemoteStore, signal: str, group: list[Segment], now_ns: int) -> Compaction:
    group, table = readable(store, signal, group)
    if len(group) < 2:
        return Compaction()
    digest = hashlib.sha256("\n".join(segment.name for segment in group).encode()).hexdigest()[:24]
    name, folder = f"{group[0].arrived_hour_ns:020d}-{digest}", store.path / signal
    store.put_segment(folder / COMPACTED / f"{name}{SUFFIX}", signal, in_order(signal, table))
    removes = [segment.path.relative_to(folder).as_posix() for segment in group]
    record = {"at_ns": now_ns, "adds": [f"{COMPACTED}/{name}{SUFFIX}"], "removes": removes}
    with answering(store.url):
        put(store.storage, f"{folder}/{changes.FOLDER}/{name}.json", json.dumps(record).encode())
    return Compaction(len(group), 1, table.num_rows)
