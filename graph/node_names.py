"""The names of services as nodes: `service.name`, and whatever else tells deployments of one name apart.

A name stands alone as long as one namespace, one environment and one cluster use it. Where several do, it becomes
``namespace/name``, then ``name@environment``, then ``name@cluster``, in this order and no longer than needed: clusters
that follow from the environment add nothing. ``graph/sql/prepared.sql`` says the same of spans.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from .rollup import SCHEMAS, Rollups, merge

UNKNOWN_SERVICE: Final = "unknown_service"
_ENDS: Final = {"caller": "caller_kind", "callee": "callee_kind", "service": None}
# What tells services of one name apart, the first that does so first.
_FORMS: Final = {"namespace": "{value}/{name}", "environment": "{name}@{value}", "cluster": "{name}@{value}"}


class Identity(NamedTuple):
    """What a span says of its service: the ``name``, and where it runs; None is unknown."""

    name: str
    namespace: str | None = None
    environment: str | None = None
    cluster: str | None = None


def node_names(
    identities: Iterable[Identity], told: Mapping[Identity, frozenset[str]] | None = None
) -> dict[Identity, str]:
    """Return the name of each identity among these; ``told`` are fields that already tell some of them apart."""
    found = {one: one.name for one in identities}
    for field, form in _FORMS.items():
        values = defaultdict(set)
        for one, name in found.items():
            values[name].add(getattr(one, field))
        several = {name for name, known in values.items() if len(known - {None}) > 1}
        several |= {found[one] for one, fields in (told or {}).items() if field in fields}
        found = {
            one: form.format(name=name, value=value) if (value := getattr(one, field)) and name in several else name
            for one, name in found.items()
        }
    return found


def named_by_host(host: str) -> tuple[str, str | None]:
    """Return the service and the namespace that a host's first labels name.

    >>> named_by_host("cart.shop.svc:8080"), named_by_host("cart")
    (('cart', 'shop'), ('cart', None))
    """
    name, _, rest = host.partition(":")[0].partition(".")
    return name, rest.partition(".")[0] or None


def nodes_of(rollups: Rollups) -> dict[Identity, str]:
    """Return the node that each identity among the instances of ``rollups`` is."""
    return {_parsed(node, *rest)[0]: node for node, *rest in _instances(rollups)}


def told_apart(parts: Sequence[Rollups]) -> list[Rollups]:
    """Return the rollups with services named alike in all: as far apart as the parts together, or one of them, tell."""
    told: dict[Identity, frozenset[str]] = {}
    seen = []
    for part in parts:
        # Rows do not say which identity of a node they are of: a node that is not told apart has one, known or not.
        known: dict[str, Identity] = {}
        for node, *rest in _instances(part):
            one, fields = _parsed(node, *rest)
            known[node] = Identity(one.name, *(a or b for a, b in zip(one[1:], known.get(node, one)[1:], strict=True)))
            told[known[node]] = told.get(known[node], frozenset()) | fields
        seen.append(known)
    names = node_names({one for known in seen for one in known.values()} | told.keys(), told)
    return [
        _renamed(part, {node: names[one] for node, one in known.items() if names[one] != node})
        for part, known in zip(parts, seen, strict=True)
    ]


def _instances(rollups: Rollups) -> Iterator[tuple[str, str | None, str | None, str | None]]:
    columns = ["service", *_FORMS]
    found = rollups.instances.select(columns).group_by(columns).aggregate([])
    found = found.filter(pc.is_valid(found.column("service")))
    yield from zip(*(found.column(name).to_pylist() for name in columns), strict=True)


def _parsed(
    node: str, namespace: str | None, environment: str | None, cluster: str | None
) -> tuple[Identity, frozenset[str]]:
    """Return the identity of a node, and which of its fields the node's name tells."""
    name, fields = node, set()
    places = {"environment": f"@{environment}", "cluster": f"@{cluster}"}
    for chosen in (("environment", "cluster"), ("environment",), ("cluster",)):
        if (suffix := "".join(places[field] for field in chosen)) and name.endswith(suffix):
            name, fields = name.removesuffix(suffix), set(chosen)
            break
    if name.startswith(f"{namespace}/"):
        name = name.removeprefix(f"{namespace}/")
        fields.add("namespace")
    return Identity(name, namespace, environment, cluster), frozenset(fields)


def _renamed(part: Rollups, names: dict[str, str]) -> Rollups:
    if not names:
        return part
    tables = {}
    for table_name in SCHEMAS:
        table = getattr(part, table_name)
        for column, kind in _ENDS.items():
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
