"""Kubernetes objects and events in JSON: ``kubectl get -o json``, one object a line, and the events of a watch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ..batch import Batch
from ..json_items import read_items
from ..kubernetes.rows import decode
from ..otlp.batches import evened
from ..source import Source

NAME: Final = "kubernetes-json"
# The items of a typed list (`kubectl get --raw`) do not repeat their kind.
_TYPED_LIST: Final = re.compile(rb'^\s*\{[^{\[]*"kind"\s*:\s*"([A-Z][A-Za-z0-9]*)List"')
_MARKS: Final = (re.compile(rb'"apiVersion"\s*:\s*"[a-z0-9./]+"'), re.compile(rb'"kind"\s*:\s*"[A-Z][A-Za-z0-9]*"'))


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the keys that every Kubernetes object begins with."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text[:1] in (b"{", b"[") and all(mark.search(head) for mark in _MARKS) and b'"metadata"' in head


def read(source: Source) -> Iterator[Batch]:
    """Yield objects and events; without `Source.time_ns` a version begins at the latest time that it carries."""
    return evened(_batches(source))


def _batches(source: Source) -> Iterator[Batch]:
    listed = _TYPED_LIST.match(source.head())
    kind = listed.group(1).decode() if listed else None
    for items in read_items(source, ("items",)):
        found = list(items)
        yield decode(found, source.name, source.time_ns, items.tally, kind)
