"""Recording: baseline, fault, recovery; then the window's tables and the label, with the effect that users felt."""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.readers import prometheus_json
from hypocenter.tracer.source import Source

from ..effect import Effect, measure, read_requests, to_label
from ..processes import working_folder
from ..recorder import add_case
from . import node_packages
from .ids import numbered
from .lab import Lab
from .network import may_use_namespaces
from .places import places_of, without_places
from .plan import Incident

FOLDER = "recordings"
# The longest that a batch of spans waits in a process, and then a little.
_EXPORT_S = 3.0
_WARM_UP_S = 15.0
_LONGEST_TRACE_NS = 20 * 10**9
Report = Callable[[str, float], None]


def _silent(_what: str, _share: float) -> None:
    pass


@contextlib.contextmanager
def running_lab(seed: int = 1, report: Report = _silent) -> Iterator[Lab]:
    """Yield a lab under load; nothing of it is left afterwards."""
    with working_folder() as folder, contextlib.ExitStack() as stack:
        report("starting the lab", 0.0)
        lab = Lab(folder, stack)
        lab.start(seed)
        _pass(lab, _WARM_UP_S, "warming up", report)
        yield lab


def check(incident: Incident) -> None:
    """Raise RuntimeError where this machine does not allow what the incident needs."""
    needy = [fault.name for fault in incident.faults if fault.needs_namespaces]
    if needy and not may_use_namespaces():
        remedy = "run as root with CAP_SYS_ADMIN"
        raise RuntimeError(f"{incident.case}: {', '.join(needy)} needs namespaces for each pod; {remedy}")


@dataclass(frozen=True, slots=True)
class Times:
    """When the recording began, the fault began and ended, and the recording ended; nanoseconds since the epoch."""

    start_ns: int
    inject_ns: int
    end_ns: int
    stop_ns: int


def record(lab: Lab, incident: Incident, out: Path, report: Report = _silent) -> dict[str, Any]:
    """Record one incident into ``out/recordings/<case>`` and its label into ``out/CASES.jsonl``; return the label.

    The lab is as before when this returns. No file is written unless the recording is whole.
    """
    times = run(lab, incident, report)
    report("writing", 1.0)
    return save(lab, incident, times, out)


def run(lab: Lab, incident: Incident, report: Report = _silent) -> Times:
    """Let an incident happen, and wait until all that was said of it has arrived."""
    lab.wait_ready()
    for fault, pod in zip(incident.faults, incident.struck, strict=True):
        lab.strike(fault, pod)
    start_ns = time.time_ns()
    _pass(lab, incident.baseline_s, "baseline", report)
    for fault in incident.faults:
        fault.prepare(lab)
    inject_ns = time.time_ns()
    begun = []
    try:
        for fault in incident.faults:
            begun.append(fault)
            fault.begin(lab)
        since = time.monotonic()
        while (now := time.monotonic() - since) < incident.fault_s:
            for fault in incident.faults:
                fault.step(lab, now)
            lab.cluster.tick()
            report(incident.kind, now / incident.fault_s)
            time.sleep(0.1)
    finally:
        end_ns = time.time_ns()
        for fault in begun:
            fault.end(lab)
    _pass(lab, incident.recovery_s, "recovery", report)
    stop_ns = time.time_ns()
    _pass(lab, _EXPORT_S, "collecting", report)
    lab.check_whole()
    return Times(start_ns, inject_ns, end_ns, stop_ns)


def save(lab: Lab, incident: Incident, times: Times, out: Path) -> dict[str, Any]:
    """Write the tables and the label of an incident that happened; may run while the next one does."""
    start_ns, inject_ns, end_ns, stop_ns = times.start_ns, times.inject_ns, times.end_ns, times.stop_ns
    spans, logs = _cut(lab, start_ns, stop_ns)
    series, points = _metrics(lab, start_ns, stop_ns)
    requests = read_requests(lab.folder / "load.jsonl")
    effects = measure(requests, start_ns, inject_ns, end_ns)
    paths = {
        "metrics": [f"{FOLDER}/{incident.case}/{name}.parquet" for name in ("series", "points")],
        "traces": [f"{FOLDER}/{incident.case}/spans.parquet"],
        "logs": [f"{FOLDER}/{incident.case}/logs.parquet"],
    }
    label = {
        **incident.label(),
        "inject_time_epoch_s": round(inject_ns / 1e9, 3),
        "end_time_epoch_s": round(end_ns / 1e9, 3),
        "effect_time_epoch_s": effect_time_s(requests, effects, start_ns, inject_ns, end_ns),
        "paths": paths,
        **to_label(effects),
    }
    places = places_of(lab.folder, node_packages.folder())
    spans, logs = numbered(spans, logs)
    tables = {"spans": spans, "logs": logs, "series": series, "points": points}
    _write(out / FOLDER / incident.case, {name: without_places(table, places) for name, table in tables.items()})
    add_case(out / "CASES.jsonl", label)
    return label


def effect_time_s(
    requests: list[dict[str, Any]], effects: list[Effect], start_ns: int, inject_ns: int, end_ns: int
) -> float | None:
    """Return when the first request of a visibly hurt operation failed or took longer than any had before; or None."""
    hurt = {effect.operation: 0.0 for effect in effects if effect.visible}
    for request in requests:
        if request["operation"] in hurt and start_ns <= request["time_ns"] < inject_ns:
            hurt[request["operation"]] = max(hurt[request["operation"]], request["duration_ms"])
    for request in sorted(requests, key=lambda r: int(r["time_ns"])):
        if request["operation"] in hurt and inject_ns <= request["time_ns"] < end_ns:
            failed = request["status"] == 0 or request["status"] >= 500
            if failed or request["duration_ms"] > hurt[request["operation"]]:
                return round(int(request["time_ns"]) / 1e9, 3)
    return None


def _pass(lab: Lab, seconds: float, what: str, report: Report) -> None:
    """Let time pass while the cluster is served."""
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds:
        lab.cluster.tick()
        report(what, now / seconds)
        time.sleep(0.1)


def _cut(lab: Lab, start_ns: int, stop_ns: int) -> tuple[pa.Table, pa.Table]:
    """Return the traces that began in the window, whole, and the log records of the window."""
    now = time.time_ns()
    before = lab.collector.read("spans", start_ns - _LONGEST_TRACE_NS, start_ns).column("trace_id").unique()
    later = lab.collector.read("spans", start_ns, min(now, stop_ns + _LONGEST_TRACE_NS))
    began = later.group_by("trace_id").aggregate([("start_ns", "min")])
    inside = began.filter((pc.field("start_ns_min") < stop_ns) & ~pc.field("trace_id").isin(before))
    spans = later.filter(pc.is_in(later["trace_id"], inside["trace_id"].combine_chunks()))
    logs = lab.collector.read("logs", start_ns, stop_ns)
    # Neighbours in order have much in common, which makes the files small.
    return spans.sort_by([("service", "ascending"), ("name", "ascending"), ("start_ns", "ascending")]), logs.sort_by(
        "time_ns"
    )


def _metrics(lab: Lab, start_ns: int, stop_ns: int) -> tuple[pa.Table, pa.Table]:
    answer = lab.prometheus.read(start_ns, stop_ns)
    source = Source("prometheus", io.BufferedReader(io.BytesIO(answer)))
    batch: Batch = concat(prometheus_json.read(source))
    series = batch.table("series").to_pandas()
    # The query API does not tell types; by name a sum or count of a histogram only grows.
    grows = series["name"].str.fullmatch(r".*_(sum|count)") & ~series["name"].eq("pg_stat_activity_count")
    series.loc[grows, ["kind", "temporality", "monotonic"]] = ["sum", "cumulative", True]
    schema = batch.table("series").schema
    return pa.Table.from_pandas(series, schema=schema, preserve_index=False), batch.table("points").sort_by(
        [("series_id", "ascending"), ("time_ns", "ascending")]
    )


def _write(folder: Path, tables: dict[str, pa.Table]) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, table in tables.items():
            packed = [c for c in ("start_ns", "time_ns", "duration_ns") if c in table.column_names]
            pq.write_table(
                table,
                partial / f"{name}.parquet",
                compression="zstd",
                compression_level=19,
                use_dictionary=[c for c in table.column_names if c not in packed],
                column_encoding=dict.fromkeys(packed, "DELTA_BINARY_PACKED"),
            )
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
