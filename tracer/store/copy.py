"""Hours of a local store to object storage: each becomes visible by one PUT, whole, and never twice.

The one record of an hour is put last and named after its store and hour, whatever is cut and run again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable

from ..schema import SIGNALS
from ..window import HOUR_NS, to_rfc3339
from . import changes
from .remote import answering, filesystem_of, put
from .segment import COMPACTED, SUFFIX, Segment
from .store import MARKER, Store


def copy_hours(
    store: Store, url: str, *, now_ns: int, progress: Callable[[str], None] = lambda _: None
) -> tuple[int, int]:
    """Copy the hours of arrival that are over to object storage; return how many were copied and their bytes.

    An hour that is there already is left alone. On return what was copied is durable there, and visible.
    """
    filesystem, root = filesystem_of(url)
    hours, size = 0, 0
    with answering(url):
        if not filesystem.get_file_info(f"{root}/{MARKER}").is_file:
            put(filesystem, f"{root}/{MARKER}", (store.path / MARKER).read_bytes())
        for signal in SIGNALS:
            of_hour: dict[int, list[Segment]] = {}
            for segment in store.segments(signal):
                of_hour.setdefault(segment.arrived_hour_ns, []).append(segment)
            for hour_ns, segments in sorted(of_hour.items()):
                name = f"{hour_ns:020d}-{_identity(store)}.json"
                record = f"{root}/{signal}/{changes.FOLDER}/{name}"
                if hour_ns + HOUR_NS > now_ns or filesystem.get_file_info(record).is_file:
                    continue
                progress(f"{signal} {to_rfc3339(hour_ns)}")
                adds = []
                for segment in segments:
                    adds.append(f"{COMPACTED}/{segment.name}{SUFFIX}")
                    content = segment.path.read_bytes()
                    put(filesystem, f"{root}/{signal}/{adds[-1]}", content)
                    size += len(content)
                put(filesystem, record, json.dumps({"at_ns": now_ns, "adds": adds, "removes": []}).encode())
                hours += 1
    return hours, size


def _identity(store: Store) -> str:
    """Return what tells the stores of several collectors apart that are copied to one place."""
    return hashlib.sha256(f"{os.uname().nodename}:{store.path.resolve()}".encode()).hexdigest()[:12]
