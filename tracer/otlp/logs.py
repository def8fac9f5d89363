"""ExportLogsServiceRequest to the logs table. Not kept, since no column has room: severity text, flags, the scope."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.semconv import RESOURCE_ATTRIBUTES

from ..batch import Tally
from ..schema import LOGS
from .any_value import Pairs, pairs_of, text_of
from .attributes import Attributes, unquoted
from .ids import SPAN_ID_BYTES, TRACE_ID_BYTES, to_hex
from .size import RepeatedBytes

_LAST_TIME_NS: Final = 2**63 - 1
_LARGEST_SEVERITY: Final = 24
_EMPTY: Final = '""'
# The short names that the log data model gives to severity numbers: TRACE is 1, TRACE2 is 2, ... FATAL4 is 24.
_SEVERITY: Final = {
    f"{name}{step if step > 1 else ''}": 4 * group + step
    for group, name in enumerate(("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"))
    for step in (1, 2, 3, 4)
}


def decode(requests: Iterable[Any], source: str, tally: Tally) -> dict[str, pa.Table]:
    """Return the table of log records of request messages, or of views of OTLP/JSON requests."""
    rows: list[tuple[Any, ...]] = []
    attributes: list[Pairs] = []
    resources: list[Pairs] = []
    size = RepeatedBytes()
    seen = 0
    for resource_logs in chain.from_iterable(request.resource_logs for request in requests):
        resource = pairs_of(resource_logs.resource.attributes)
        size.of(resource)
        resources.append(resource)
        for record in chain.from_iterable(scope_logs.log_records for scope_logs in resource_logs.scope_logs):
            seen += 1
            # The event's own time where there is one, else when the collector saw it: the data model's advice.
            time_ns = record.time_unix_nano or record.observed_time_unix_nano
            if not 0 < time_ns <= _LAST_TIME_NS:
                reason = "log record with a time after the year 2262" if time_ns else "log record without a time"
                tally.drop(reason, f"{source}: log record {seen}")
                continue
            size.repeat()
            keys, texts = pairs_of(record.attributes)
            if record.event_name:
                keys, texts = [*keys, "event.name"], [*texts, orjson.dumps(record.event_name).decode()]
            severity = record.severity_number or _SEVERITY.get(record.severity_text, 0)
            body = text_of(record.body)
            body = _EMPTY if body == "null" else body
            rows.append((time_ns, severity, body, record.trace_id, record.span_id, len(resources) - 1))
            attributes.append((resource[0] + keys, resource[1] + texts))
    times, severities, bodies, trace_ids, span_ids, owners = zip(*rows, strict=True) if rows else ((),) * 6
    own, repeated = Attributes.of(attributes).unique()
    common = Attributes.of(resources)
    severity = np.array(severities, "i8")
    unknown = (severity < 0) | (severity > _LARGEST_SEVERITY)
    trace_id = to_hex(pa.array(trace_ids, pa.binary()), TRACE_ID_BYTES)
    span_id = to_hex(pa.array(span_ids, pa.binary()), SPAN_ID_BYTES)
    owner = pa.array(owners, pa.int32())
    identity = {
        name: pc.coalesce(common.pick(RESOURCE_ATTRIBUTES[name]).take(owner), own.pick(RESOURCE_ATTRIBUTES[name]))
        for name in ("service", "pod", "node")
    }
    columns = {
        "time_ns": pa.array(times, pa.int64()),
        "severity": pa.array(np.where(unknown, 0, severity), pa.int8()),
        "body": unquoted(pa.array(bodies, pa.string())),
        "trace_id": trace_id,
        "span_id": span_id,
        **identity,
        "attributes": own.to_maps(),
        "source": pa.repeat(pa.scalar(source), len(rows)),
    }
    tally.repair("service.name missing", identity["service"].null_count)
    tally.repair("unknown severity number", int(unknown.sum()))
    tally.repair("trace id not valid", _unusable(trace_ids, trace_id))
    tally.repair("span id not valid", _unusable(span_ids, span_id))
    tally.repair("attribute key repeated", repeated)
    tally.accepted["logs"] += len(rows)
    return {"logs": pa.Table.from_arrays([columns[name] for name in LOGS.names], schema=LOGS)}


def _unusable(given: tuple[bytes, ...], kept: pa.StringArray) -> int:
    """Return how many ids were given, not as zeros, and are still no id."""
    wanted = np.array([bool(value.strip(b"\0")) or len(value) == 1 for value in given], bool)
    return int((wanted & kept.is_null().to_numpy(zero_copy_only=False)).sum())
