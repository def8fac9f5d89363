"""Kubernetes objects in YAML, one or more documents: ``kubectl get -o yaml`` and manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally
from ..kubernetes.rows import decode
from ..otlp.batches import evened
from ..source import Source

NAME: Final = "kubernetes-yaml"
DOCUMENT_LIMIT_BYTES: Final = 64 << 20
_MARKS: Final = (re.compile(rb"^apiVersion:\s*[\w\"'./-]+", re.M), re.compile(rb"^kind:\s*[\"']?[A-Z]\w*", re.M))
_END: Final = re.compile(rb"---(\s|$)")
# Aliases may make a document grow without bound; manifests share a handful of parts.
_MOST_ALIASES: Final = 100


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Leaves times as the texts that they are in JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def matches(head: bytes, file_name: str) -> bool:
    """Tell by the two keys that every manifest has at its top."""
    return all(mark.search(head) for mark in _MARKS)


def read(source: Source) -> Iterator[Batch]:
    """Yield objects; a document that is broken is dropped with its line.

    Raises DecodeError for a document longer than 64 MiB.
    """
    return evened(_batches(source))


def _batches(source: Source) -> Iterator[Batch]:
    for line, text in _documents(source):
        tally, place = Tally(), f"{source.name}: line {line}"
        try:
            value = _parsed(text)
        except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
            tally.drop("broken YAML document", f"{place}: {str(error).splitlines()[0][:100] if str(error) else ''}")
            yield Batch(tally=tally)
            continue
        if value is not None:
            yield decode([(value, place)], source.name, source.time_ns, tally)


def _documents(source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield the first line and the text of each document."""
    held: list[bytes] = []
    begun, size = 1, 0
    for number, line in enumerate(source.stream, 1):
        if _END.match(line):
            yield begun, b"".join(held)
            # Content may stand on the line of the marker itself.
            begun, size, held = number, 0, [line[3:]]
            continue
        held.append(line)
        size += len(line)
        if size > DOCUMENT_LIMIT_BYTES:
            raise DecodeError(source.name, f"line {begun}", "a YAML document is longer than 64 MiB")
    yield begun, b"".join(held)


def _parsed(text: bytes) -> Any:
    aliases = (
        sum(1 for token in yaml.scan(text, Loader=_Loader) if isinstance(token, yaml.AliasToken)) if b"*" in text else 0
    )
    if aliases > _MOST_ALIASES:
        raise ValueError(f"more than {_MOST_ALIASES} aliases")
    return yaml.load(text, Loader=_Loader)
