"""Counters and histograms of requests, as rate, failures and mean latency of a service and of its calls to another.

Instrumentation and proxies count requests by route, status and peer, in a sum and a count; each of these series alone
says little, and a status or a peer is told by a label. Here they are added up:

    http_server_request_duration_seconds_{sum,count}{http_response_status_code, error_type, ...}
        -> http_server requests, http_server errors, http_server mean latency       of the service
    http_client_request_duration_seconds_{sum,count}{server_address, ...}
        -> http_client requests, http_client errors, http_client mean latency       of the edge service -> peer

Sources: OpenTelemetry semantic conventions for HTTP, RPC and database metrics; Prometheus naming practices.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..tracer.schema import SIGNALS
from .evidence.series import CLIENT_SIDE
from .metrics import sampling_step

# What the series of a service or an edge are called after its stem.
REQUESTS, ERRORS, LATENCY = "requests", "errors", "mean latency"

_TIMED = re.compile(
    r"duration|latency|response_?time|elapsed|(?:request|call|query|operation)s?_(?:milli)?seconds", re.I
)
_COUNTED = re.compile(r"(?:request|call|handled|response)s?(?:_count)?_total$", re.I)
_STEM = re.compile(r"[._]?(?:requests?|calls?|operations?|handled|responses?)?[._]?(?:duration|latency|response_?time|"
                   r"elapsed)?[._]?(?:milliseconds|seconds|ms|s)?(?:_count)?(?:_total)?$", re.I)  # fmt: skip
_PEERS = ("peer_service", "service_peer_name", "destination_service_name", "server_address", "net_peer_name")
_STATUS = ("http_response_status_code", "http_status_code", "response_code", "status_code", "code", "status")
_RPC_STATUS = ("rpc_response_status_code", "rpc_grpc_status_code", "grpc_status", "grpc_code")
_WELL = ("0", "OK", "")
# The first sample of a series tells no growth, unless its siblings were there before: then it began with it, at zero.
_SQL = """
with wide as (
    select t.key, t.part, t.failing, t.cumulative, series_id, p.time_ns, p.value
    from told t join points p using (series_id)
    where p.value is not null and not isnan(p.value)
    union all
    select t.key, parts.part, t.failing, t.cumulative, series_id || parts.part, p.time_ns,
        cast(json_extract(p.histogram, '$.' || parts.part) as double) as value
    from told t join points p using (series_id), (values ('sum'), ('count')) parts(part)
    where t.part = 'histogram' and p.histogram is not null
), since as (
    select *, min(time_ns) over (partition by key) as first_of_all,
        lag(value) over (partition by series_id order by time_ns) as before
    from wide
), grown as (
    select key, part, failing, time_ns // $step * $step as step, time_ns,
        case when not cumulative then value
             when before is null then if(time_ns > first_of_all + $step, value, null)
             when value < before then null
             else value - before end as growth
    from since
)
select key, step, max(time_ns) as time_ns,
    sum(growth) filter (part = 'count') as requests,
    coalesce(sum(growth) filter (part = 'count' and failing), 0) as errors,
    sum(growth) filter (part = 'sum') as took
from grown group by key, step having requests is not null order by key, step
"""


def in_requests(series: pa.Table, points: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return both tables (`hypocenter.tracer.schema`) with the series that count requests replaced by what they tell.

    The new series are gauges per step of sampling: requests and errors in the step, latency in the metric's own unit.
    Series that count no requests stay as they are; where there are none, both tables are returned unchanged. Points of
    the series replaced stay too, without a series: to copy the others would cost more than to skip them.
    """
    told = list(_told(series))
    if not told:
        return series, points
    keys = {key: number for number, key in enumerate(dict.fromkeys(row["edge"] for row in told))}
    listing = pa.Table.from_pylist(
        [
            {k: row[k] for k in ("series_id", "part", "failing", "cumulative")} | {"key": keys[row["edge"]]}
            for row in told
        ]
    )
    found = _summed(listing, points)
    own = pc.invert(pc.is_in(series["series_id"], listing["series_id"]))
    new_series, new_points = _tables(list(keys), found)
    return (
        pa.concat_tables([series.filter(own), new_series]),
        _joined(points.select(new_points.column_names), new_points),
    )


def _told(series: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield, per series that counts requests, its part (sum, count or histogram), its edge and whether it failed."""
    names = set(pc.unique(series["name"]).to_pylist())
    histograms = set(pc.unique(series.filter(pc.equal(series["kind"], "histogram"))["name"]).to_pylist())
    families = {name: found for name in names if (found := _part(name, names, histograms))}
    wanted = pc.and_(pc.is_in(series["name"], pa.array(families, pa.string())), pc.is_valid(series["service"]))
    columns = ["series_id", "name", "temporality", "service", "attributes"]
    for row in series.filter(wanted).select(columns).to_pylist():
        labels = {key.replace(".", "_"): _text(value) for key, value in row["attributes"] or ()}
        kind = labels.get("span_kind", "").upper().removeprefix("SPAN_KIND_")
        if kind == "INTERNAL":
            continue
        part, base = families[row["name"]]
        named_client = bool(re.search(CLIENT_SIDE, base))
        client = named_client or kind in ("CLIENT", "PRODUCER")
        stem = _STEM.sub("", base) + (" client" if client and not named_client else "")
        yield {
            "series_id": row["series_id"],
            "part": part,
            "failing": _failing(labels),
            "cumulative": row["temporality"] != "delta",
            "edge": (row["service"], _peer(labels) if client else None, stem),
        }


def _part(name: str, names: set[str], histograms: set[str]) -> tuple[str, str] | None:
    """Return which part of a family a name is (sum, count or histogram), and the family; None counts no requests."""
    if name in histograms and _TIMED.search(name):
        return "histogram", name
    for part in ("sum", "count"):
        for dot in "._":
            base = name.removesuffix(f"{dot}{part}")
            if base != name and _TIMED.search(base) and {f"{base}{dot}sum", f"{base}{dot}count"} <= names:
                return part, base
    return ("count", name) if _COUNTED.search(name) else None


def _text(value: str | None) -> str:
    if value is None:
        return ""
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _peer(labels: Mapping[str, str]) -> str | None:
    """Return the service that a client's labels name: the first part of a host name, None for an address."""
    name = next((labels[label] for label in _PEERS if labels.get(label)), "")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.split(":")[0].split(".")[0] if name and name != "localhost" else None
    return None


def _failing(labels: Mapping[str, str]) -> bool:
    status = next((labels[label] for label in _STATUS if labels.get(label)), "").upper()
    if re.fullmatch(r"[1-5](?:\d\d|XX)", status):
        return status[0] == "5"
    rpc = next((labels[label] for label in _RPC_STATUS if label in labels), "OK").upper()
    return bool(labels.get("error_type")) or rpc not in _WELL or status.removeprefix("STATUS_CODE_") == "ERROR"


def _summed(listing: pa.Table, points: pa.Table) -> pa.Table:
    """Return requests, errors and total time by key and step; columns key, step, time_ns, requests, errors, took."""
    import duckdb

    points = points.filter(_are_of(points, listing))
    with duckdb.connect() as database:
        database.register("told", listing)
        database.register("points", points)
        return database.sql(_SQL, params={"step": sampling_step(points)}).to_arrow_table()


def _joined(points: pa.Table, more: pa.Table) -> pa.Table:
    if pa.types.is_dictionary(points["series_id"].type):
        more = more.set_column(0, "series_id", more["series_id"].dictionary_encode())
    return pa.concat_tables([points, more], promote_options="permissive")


def _are_of(points: pa.Table, listing: pa.Table) -> pa.ChunkedArray:
    """Return which points belong to the series of ``listing``; ids that come encoded are looked up once each."""
    ids = points["series_id"]
    if not pa.types.is_dictionary(ids.type):
        return pc.is_in(ids, listing["series_id"])
    masks = [pc.is_in(part.dictionary, listing["series_id"]).take(part.indices) for part in ids.chunks]
    return pa.chunked_array(masks, pa.bool_())


def _tables(edges: list[tuple[str, str | None, str]], found: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the series and points of ``found``: a series of requests, of errors and of mean latency for each edge."""
    requests, took = found["requests"], found["took"]
    has = pc.greater(requests, 0)
    mean = pc.if_else(has, pc.divide(took, pc.if_else(has, requests, pa.scalar(1.0))), pa.scalar(None, pa.float64()))
    parts, listed = [], []
    for what, values in ((REQUESTS, requests), (ERRORS, found["errors"]), (LATENCY, mean)):
        ids = pa.array([f"requests/{what}/{service}/{peer}/{stem}" for service, peer, stem in edges])
        known = pc.is_valid(values)
        parts.append(
            pa.table(
                {
                    "series_id": ids.take(found["key"].combine_chunks()).filter(known.combine_chunks()),
                    "time_ns": found["time_ns"].filter(known),
                    "value": pc.cast(values.filter(known), pa.float64()),
                    "histogram": pa.nulls(pc.sum(known).as_py() or 0, pa.string()),
                }
            )
        )
        listed += [
            {
                "series_id": i,
                "name": f"{stem} {what}".strip(),
                "kind": "gauge",
                "service": service,
                "peer": peer,
                "source": "",
            }
            for i, (service, peer, stem) in zip(ids.to_pylist(), edges, strict=True)
        ]
    return pa.Table.from_pylist(listed, SIGNALS["series"]), pa.concat_tables(parts).cast(SIGNALS["points"])
