"""Cases whose services have other names: a ranker that knows systems by their names, or their order, is found out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import networkx as nx
import pyarrow as pa

from ...tracer.batch import Batch
from ..case import Case, Symptom
from .cases import LabelledCase
from .derive import derived

_NAMED = ("service", "peer", "peer_service", "series_id")


def renamed(case: LabelledCase, seed: int) -> LabelledCase:
    """Return the case with every service, peer and series under an opaque name drawn by its own and ``seed``.

    The labels' services are renamed alike, so that the same answers are right; names in the objects and events of
    Kubernetes, in attributes and in log lines stay.
    """

    def to_opaque(name: str) -> str:
        return f"s{hashlib.blake2b(f'{seed}/{name}'.encode(), digest_size=6).hexdigest()}"

    origins = tuple(
        replace(
            origin,
            service=to_opaque(origin.service),
            edge=None if origin.edge is None else (to_opaque(origin.edge[0]), to_opaque(origin.edge[1])),
        )
        for origin in case.origins
    )
    answers = None if case.answers is None else frozenset(map(to_opaque, case.answers))
    return replace(derived(case, [lambda made: _case(made, to_opaque)]), answers=answers, origins=origins)


def _case(case: Case, to_opaque: Callable[[str], str]) -> Case:
    topology, symptom = case.topology, case.symptom
    return replace(
        case,
        telemetry=_batch(case.telemetry, to_opaque),
        baseline=_batch(case.baseline, to_opaque),
        symptom=Symptom(None if symptom.entity is None else to_opaque(symptom.entity), symptom.signal),
        topology=None if topology is None else nx.relabel_nodes(topology, {n: to_opaque(n) for n in topology}),
    )


def _batch(batch: Batch, to_opaque: Callable[[str], str]) -> Batch:
    tables = {}
    for signal, table in batch.tables.items():
        for name in _NAMED if signal in ("spans", "series", "points", "logs") else ():
            if name in table.column_names:
                at = table.column_names.index(name)
                table = table.set_column(at, table.schema.field(name), _column(table[name], to_opaque))
        tables[signal] = table
    return replace(batch, tables=tables)


def _column(column: pa.ChunkedArray, to_opaque: Callable[[str], str]) -> pa.ChunkedArray:
    """Return the column with its distinct values renamed; of the same type, null where it was."""
    encoded = column.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray) or not pa.types.is_dictionary(encoded.type):
        encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    names = pa.array([None if v is None else to_opaque(v) for v in encoded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([names.take(encoded.indices).cast(column.type)])
