"""What a person asks a store besides its graph and a ranking: traces, metrics, events, changes, symptoms as frames."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .analysis.changes import changes as read_changes
from .analysis.metrics import to_metrics
from .analysis.symptom import find_symptoms
from .errors import GraphError, SourceError
from .graph.cache import rollups
from .graph.flame import paths
from .graph.kubernetes import History
from .graph.kubernetes_start import PodStart
from .graph.kubernetes_start import pod_start as start_of
from .graph.link import link
from .rows import Rows
from .semconv import STATUS_ERROR
from .tracer.window import HOUR_NS, Window

if TYPE_CHECKING:
    from .tracer.store import Store

_MOST_SERIES = 5_000
_SPAN_COLUMNS = ("trace_id", "parent_span_id", "service", "name", "status", "start_ns", "duration_ns")


def symptoms(store: Store, window: Window) -> pd.DataFrame:
    """Return a row per stretch in which an entry operation hurt, in order: see `hypocenter.analysis.symptom.Felt`."""
    columns = ["start", "end", "service", "operation", "signal", "sigmas", "text"]
    rows = [
        (f.window.start_ns, f.window.end_ns, f.service, f.operation, f.signal, f.sigmas, f.text)
        for f in find_symptoms(rollups(store, window), window)
    ]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(start=_utc(frame.start), end=_utc(frame.end))


def services(store: Store) -> pd.DataFrame:
    """Return spans, first_span, last_span (UTC) and metric series of each service, by name."""
    sql = "SELECT service, count(*) AS spans, min(start_ns) AS first_ns, max(start_ns) AS last_ns FROM rows"
    seen = Rows(store, "spans").query(f"{sql} WHERE service IS NOT NULL GROUP BY service", ["service", "start_ns"])
    spoke = seen.to_pandas().set_index("service")
    series = store.read("series", columns=["series_id", "service"]).to_pandas().groupby("service").size()
    frame = pd.DataFrame({"spans": spoke.spans, "first_span": _utc(spoke.first_ns), "last_span": _utc(spoke.last_ns)})
    frame = frame.join(series.rename("series"), how="outer").rename_axis("service")
    return frame.fillna({"spans": 0, "series": 0}).astype({"spans": "int64", "series": "int64"}).sort_index()


def traces(store: Store, window: Window, where: str | None = None, limit: int = 100) -> pd.DataFrame:
    """Return a row per trace with a span in ``window`` that meets a condition (`Rows`), the longest first.

    Columns: ``start`` (UTC), ``duration_s`` of the whole trace as seen in the window, ``entry`` service and
    ``operation`` of its earliest root, ``spans``, ``errors``, ``services``; the index is the trace id.
    """
    chosen = longest(store, window, where, limit)
    return _summed(store.read("spans", window, _SPAN_COLUMNS, pc.field("trace_id").isin(chosen)))


def longest(store: Store, window: Window, where: str | None, limit: int) -> list[str]:
    """Return the ids of the longest traces that have a span of a condition, in memory that depends on traces alone."""
    rows = Rows(store, "spans", window, where)
    took = "max(start_ns + duration_ns) - min(start_ns)"
    sql = (
        f"SELECT trace_id FROM rows GROUP BY trace_id HAVING bool_or({rows.filtered})"
        f" ORDER BY {took} DESC, min(start_ns), trace_id LIMIT {int(limit)}"
    )
    found: list[str] = rows.query(sql, ["trace_id", "start_ns", "duration_ns"])["trace_id"].to_pylist()
    return found


def _summed(spans: pa.Table) -> pd.DataFrame:
    failed = pc.cast(pc.equal(spans["status"], STATUS_ERROR), pa.int64())
    ends = pc.add(spans["start_ns"], spans["duration_ns"])
    is_root = pc.cast(pc.is_valid(spans["parent_span_id"]), pa.int8())
    # Roots first, then what began first: the first row of a trace names it.
    table = spans.append_column("failed", failed).append_column("end_ns", ends).append_column("below", is_root)
    table = table.sort_by([("trace_id", "ascending"), ("below", "ascending"), ("start_ns", "ascending")])
    grouped = table.group_by("trace_id", use_threads=False).aggregate(
        [
            ("start_ns", "min"),
            ("end_ns", "max"),
            ("service", "first"),
            ("name", "first"),
            ([], "count_all"),
            ("failed", "sum"),
            ("service", "count_distinct"),
        ]
    )
    frame = grouped.to_pandas().set_index("trace_id")
    found = pd.DataFrame(
        {
            "start": _utc(frame.start_ns_min),
            "duration_s": (frame.end_ns_max - frame.start_ns_min) / 1e9,
            "entry": frame.service_first,
            "operation": frame.name_first,
            "spans": frame.count_all,
            "errors": frame.failed_sum,
            "services": frame.service_count_distinct,
        }
    )
    return found.sort_values(["duration_s", "start"], ascending=[False, True], kind="stable")


def flame(store: Store, window: Window, where: str | None = None, limit: int = 2_000) -> tuple[pd.DataFrame, int]:
    """Return the paths of the longest traces with such a span (`hypocenter.graph.flame`), and how many traces."""
    chosen = longest(store, window, where, limit)
    spans = store.read("spans", window, filter=pc.field("trace_id").isin(chosen))
    return paths(link(spans).visits), len(chosen)


def metrics(
    store: Store, window: Window, names: str | Iterable[str] | None = None, service: str | None = None
) -> pd.DataFrame:
    """Return samples on a common clock: a row per step (UTC), a column per series (name, service, pod, labels).

    ``labels`` are those that tell series of one name, service and pod apart, empty where there is but one. Counters are
    increases per step; NaN is unknown. ``names`` are metric names, exactly or with ``*``.

    Raises
    ------
    SourceError
        More than 5,000 series match, or none; the message says what the store holds.
    """
    wanted = [names] if isinstance(names, str) else list(names or ())
    series = store.read("series")
    chosen = listing = series.to_pandas()
    if wanted:
        pattern = "|".join(f"(?:{_regex(name)})" for name in wanted)
        chosen = chosen[chosen.name.str.fullmatch(pattern)]
    if service is not None:
        chosen = chosen[chosen.service == service]
    if chosen.empty:
        held = ", ".join(sorted(listing.name.unique())[:10]) or "no series"
        raise SourceError(f"{store}: no series matches; it holds {held} ...")
    if len(chosen) > _MOST_SERIES:
        raise SourceError(
            f"{len(chosen):,} series match, {_MOST_SERIES:,} are shown at most; name metrics or a service"
        )
    ids = chosen.series_id.tolist()
    points = store.read("points", window, filter=pc.field("series_id").isin(ids))
    told = to_metrics(series, points)
    labels = told.series.series_id.map(_labels(chosen))
    columns = pd.MultiIndex.from_frame(told.series[["name", "service", "pod"]].assign(labels=labels))
    index = pd.DatetimeIndex(_utc(pd.Series(told.time_ns, dtype="int64")), name="time")
    return pd.DataFrame(told.values.T, index=index, columns=columns).sort_index(axis=1)


def _labels(series: pd.DataFrame) -> pd.Series:
    """Return, by series id, the attributes in which series of one name, service and pod differ, as text."""
    pairs = zip(series.series_id, series.attributes, strict=True)
    listed = [(name, key, value) for name, held in pairs if held is not None for key, value in held]
    frame = pd.DataFrame(listed, columns=["series_id", "key", "value"]).drop_duplicates(["series_id", "key"])
    wide = frame.pivot(index="series_id", columns="key", values="value").reindex(series.series_id)
    group = series.set_index("series_id")[["name", "service", "pod"]].fillna("").apply(tuple, axis=1)
    differs = wide.groupby(group).transform("nunique", dropna=False) > 1
    text = wide.where(differs).apply(
        lambda row: " ".join(f"{key}={str(value).strip(chr(34))}" for key, value in row.dropna().items()), axis=1
    )
    return text.astype(str)


def events(store: Store, window: Window) -> pd.DataFrame:
    """Return a row per event in order of time: Kubernetes events, rollouts, configuration changes, alerts."""
    columns = ["time_ns", "kind", "reason", "object_kind", "namespace", "object_name", "service", "message"]
    frame = store.read("events", window, columns).to_pandas().sort_values("time_ns", kind="stable", ignore_index=True)
    frame.insert(0, "time", _utc(frame.pop("time_ns")))
    return frame


def changes(store: Store, window: Window, onset_ns: int | None = None, symptom: str | None = None) -> pd.DataFrame:
    """Return a row per change of a Kubernetes object: time (UTC), object, verb, by, services and what differs.

    With an onset or a symptom the closest comes first (`hypocenter.analysis.changes.changes`), else in order of time.
    """
    found = read_changes(store, window, onset_ns, symptom)
    rows = [
        (one.time_ns, one.found.key, one.verb, one.by, ", ".join(services), "; ".join(map(str, one.differences)))
        for one, services in found
    ]
    frame = pd.DataFrame(rows, columns=["time", "object", "verb", "by", "services", "differences"])
    return frame.assign(time=_utc(frame.time))


def cluster_history(store: Store, at_ns: int | None = None) -> tuple[History, int]:
    """Return the history of the hour before a time, by default the last that is known, and that time.

    SourceError says how to get objects of a cluster where the store holds none.
    """
    held = store.bounds("objects") or store.bounds("points")
    if held is None:
        how = f"hypocenter ingest objects.json --store {store}, or hypocenter collect --kubernetes"
        raise SourceError(f"{store}: holds no Kubernetes objects; add some with: {how}")
    ends = [held.end_ns, *(bound.end_ns for bound in [store.bounds("events")] if bound is not None)]
    at_ns = max(ends) - 1 if at_ns is None else at_ns
    history = History.read(store, Window(max(at_ns - HOUR_NS, 0), at_ns + 1))
    if not history.versions:
        raise SourceError(f"{store}: holds no Kubernetes objects of that time; what it holds ends at {held}")
    return history, at_ns


def pod_start(store: Store, name: str, namespace: str | None = None, at_ns: int | None = None) -> PodStart:
    """Return how a pod started, as known at a time; GraphError when there is none of the name."""
    history, at_ns = cluster_history(store, at_ns)
    pods = [pod for pod in history.at(at_ns).of("Pod") if pod.name == name and namespace in (None, pod.namespace)]
    if not pods:
        raise GraphError(f"no pod {name} at this time; see: hypocenter cluster --layer placement")
    return start_of(history, pods[0])


def _regex(name: str) -> str:
    return ".*".join(re.escape(part) for part in name.split("*"))


def _utc(time_ns: pd.Series) -> pd.Series:
    return pd.to_datetime(time_ns.astype("int64"), unit="ns", utc=True)
