"""One name for a service in all parts of a window, though some of them saw only one of its namespaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from .rollup import SCHEMAS, Rollups, merge

_NAMES = {"caller": "caller_kind", "callee": "callee_kind", "service": None}


def told_apart(parts: Sequence[Rollups]) -> list[Rollups]:
    """Return the rollups with services named ``namespace/name`` where the parts together know several namespaces."""
    seen = [_services(part) for part in parts]
    namespaces = defaultdict(set)
    for services in seen:
        for name, namespace in services:
            namespaces[name.removeprefix(f"{namespace}/")].add(namespace)
    shared = {name for name, found in namespaces.items() if len(found) > 1}
    return [
        _renamed(part, {name: f"{namespace}/{name}" for name, namespace in services if name in shared})
        for part, services in zip(parts, seen, strict=True)
    ]


def _services(part: Rollups) -> list[tuple[str, str]]:
    pairs = part.instances.select(["service", "namespace"]).group_by(["service", "namespace"]).aggregate([])
    known = pairs.filter(pc.is_valid(pairs.column("namespace")))
    return list(zip(known.column("service").to_pylist(), known.column("namespace").to_pylist(), strict=True))


def _renamed(part: Rollups, names: dict[str, str]) -> Rollups:
    if not names:
        return part
    tables = {}
    for table_name in SCHEMAS:
        table = getattr(part, table_name)
        for column, kind in _NAMES.items():
            if column in table.column_names:
                # A virtual node of that name is no service.
                is_service = None if kind is None else pc.equal(table.column(kind), "service")
                given = table.column(column)
                renamed = pa.array([names.get(name, name) for name in given.to_pylist()], pa.string())
                found = renamed if is_service is None else pc.if_else(is_service, renamed, given)
                table = table.set_column(table.column_names.index(column), table.schema.field(column), found)
        tables[table_name] = table
    # Another name is another place in the order of rows.
    return merge([Rollups(**tables)])
