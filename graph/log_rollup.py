"""Log templates counted in 10 s steps: per service, operation of the span that wrote them, severity and template.

A log volume of millions of lines becomes a table that evidence can read at any traffic. Kept by the hour beside the
other rollups, keyed by the segments of logs and spans that it covers.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..tracer.log_templates import tells_failure, templates
from ..tracer.store import Store
from ..tracer.window import MINUTE_NS, Window, to_rfc3339
from .queries import connect, run_in
from .rollup import STEP_NS

_COLUMNS = ["time_ns", "severity", "body", "trace_id", "span_id", "service"]
_KEYS = ["time_ns", "service", "operation", "severity", "template"]
LOG_TEMPLATES = pa.schema(
    [
        ("time_ns", pa.int64()),
        ("service", pa.string()),
        ("operation", pa.string()),
        ("severity", pa.int8()),
        ("template", pa.string()),
        ("count", pa.int64()),
        ("failing", pa.int64()),
        ("with_trace", pa.int64()),
    ]
)
# A template past these, by lines of its service in an hour, is counted under `_other`: masks can fail on free text.
TEMPLATES_KEPT = 500
OTHER = "_other"
# A span that wrote a line may have begun this much earlier.
_SPAN_REACH_NS = 15 * MINUTE_NS
_FOLDER, _RULES = "log-rollups", "1"


def log_rollup(store: Store, window: Window) -> pa.Table:
    """Return the counts of log templates in the 10 s steps that start in ``window``, in the schema `LOG_TEMPLATES`.

    ``operation`` is the name of the span whose ids the lines carry, null where they carry none or it is not in the
    store; ``failing`` counts lines that tell of a failure (severity, else words), ``with_trace`` those that name a
    trace. The sum of ``count`` is the number of log records of the window; rows are sorted by their key.

    Notes
    -----
    An hour that is over is kept under the store's ``log-rollups/`` and made anew when its logs or spans change.
    """
    store = store.snapshot()
    bounds = store.bounds("logs")
    parts = [LOG_TEMPLATES.empty_table()]
    for hour in store.hours("logs", window):
        is_over = bounds is not None and hour.end_ns <= bounds.end_ns
        # On object storage nothing but rollups of spans is kept.
        kept = _kept(store, hour) if is_over and store.filesystem is None else None
        parts.append(roll_up_logs(store, hour) if kept is None else kept)
    table = pa.concat_tables(parts)
    return table.filter(_within(table["time_ns"], window)).sort_by([(key, "ascending") for key in _KEYS])


def roll_up_logs(store: Store, window: Window) -> pa.Table:
    """Return the counts of one window, at most `TEMPLATES_KEPT` templates a service, the rest as ``_other``."""
    parts: list[pa.Table] = []
    for batch in store.scan("logs", window, _COLUMNS):
        lines = pa.Table.from_batches([batch])
        step = pc.subtract(lines["time_ns"], _remainder(lines["time_ns"]))
        lines = lines.append_column("template", templates(lines["body"])).append_column("failing", tells_failure(lines))
        lines = lines.drop_columns(["body", "time_ns"]).append_column("time_ns", step)
        # Counted batch by batch, so that memory follows the templates and not the lines.
        parts.append(_summed(lines.append_column("count", pa.repeat(pa.scalar(1, pa.int64()), len(lines)))))
    if not parts:
        return LOG_TEMPLATES.empty_table()
    lines = _with_operation(store, pa.concat_tables(parts), window)
    with connect() as database:
        return run_in(database, "log_rollup", {"lines": lines, "ranked": _ranked(lines)}).cast(LOG_TEMPLATES)


def _remainder(times: pa.ChunkedArray) -> pa.ChunkedArray:
    whole = pc.multiply(pc.divide(times, STEP_NS), STEP_NS)
    return pc.subtract(times, whole)


def _summed(lines: pa.Table) -> pa.Table:
    keys = ["time_ns", "service", "severity", "template", "failing", "trace_id", "span_id"]
    return lines.group_by(keys).aggregate([("count", "sum")]).rename_columns([*keys, "count"])


def _with_operation(store: Store, lines: pa.Table, window: Window) -> pa.Table:
    """Return the lines with the name of the span that each names."""
    around = Window(window.start_ns - _SPAN_REACH_NS, window.end_ns + MINUTE_NS)
    wanted = pc.unique(lines["span_id"].combine_chunks().drop_null())
    if not len(wanted):
        return lines.append_column("operation", pa.nulls(len(lines), pa.string()))
    spans = store.read("spans", around, ["trace_id", "span_id", "name"], pc.field("span_id").isin(wanted))
    # An exported span may come twice.
    names = spans.group_by(["trace_id", "span_id"]).aggregate([("name", "min")])
    names = names.rename_columns(["trace_id", "span_id", "operation"])
    return lines.join(names, ["trace_id", "span_id"], join_type="left outer")


def _ranked(lines: pa.Table) -> pa.Table:
    """Return the lines of each template of a service."""
    keys = ["service", "template"]
    return lines.group_by(keys).aggregate([("count", "sum")]).rename_columns([*keys, "lines"])


def _within(times: pa.ChunkedArray, window: Window) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(times, window.start_ns), pc.less(times, window.end_ns))


def _kept(store: Store, hour: Window) -> pa.Table:
    """Return an hour from its file, made when it is absent or covers other segments."""
    around = Window(hour.start_ns - _SPAN_REACH_NS, hour.end_ns + MINUTE_NS)
    names = [s.name for s in store.segments("logs", hour)] + [s.name for s in store.segments("spans", around)]
    key = hashlib.sha256("\n".join([_RULES, *names]).encode()).hexdigest()[:32]
    folder = store.path / _FOLDER / to_rfc3339(hour.start_ns).replace(":00:00Z", "")
    file = folder / f"{key}.parquet"
    try:
        return pq.read_table(file, schema=LOG_TEMPLATES)
    except (OSError, pa.ArrowException):  # absent or damaged: it can be made again
        table = roll_up_logs(store, hour)
    _keep(table, file)
    return table


def _keep(table: pa.Table, file: Path) -> None:
    """Publish an hour's table at once and remove those that it replaces; a store that may only be read keeps none."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".", delete=False) as staging:
            pq.write_table(table, staging, compression="zstd")
        Path(staging.name).replace(file)
        for older in file.parent.glob("*.parquet"):
            if older != file:
                older.unlink(missing_ok=True)
    except OSError:
        return
