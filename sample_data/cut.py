"""Cutting a recording to its window: whole traces that begin inside, and the log lines that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Request = dict[str, Any]


def spans(requests: list[Request]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each span with the name of its service."""
    for request in requests:
        for resource in request["resourceSpans"]:
            attributes = {a["key"]: a["value"] for a in resource["resource"]["attributes"]}
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    yield attributes["service.name"]["stringValue"], span


def cut(traces: list[Request], logs: list[Request], start_ns: int, end_ns: int) -> tuple[list[Request], list[Request]]:
    """Return the traces whose first span begins in ``[start_ns, end_ns)`` and their logs, in the order of arrival."""
    begin: dict[str, int] = {}
    for _, span in spans(traces):
        begun = int(span["startTimeUnixNano"])
        begin[span["traceId"]] = min(begun, begin.get(span["traceId"], begun))
    kept = {trace for trace, begun in begin.items() if start_ns <= begun < end_ns}

    def has_place(record: dict[str, Any]) -> bool:
        if record.get("traceId") in begin:
            return record["traceId"] in kept
        return start_ns <= int(record.get("timeUnixNano", record.get("observedTimeUnixNano", 0))) < end_ns

    kept_traces = _filter(traces, "resourceSpans", "scopeSpans", "spans", lambda span: span["traceId"] in kept)
    return kept_traces, _filter(logs, "resourceLogs", "scopeLogs", "logRecords", has_place)


def _filter(
    requests: list[Request], resources: str, scopes: str, items: str, keep: Callable[[dict[str, Any]], bool]
) -> list[Request]:
    kept = []
    for request in requests:
        found = []
        for resource in request[resources]:
            inner = [{**scope, items: [i for i in scope[items] if keep(i)]} for scope in resource[scopes]]
            inner = [scope for scope in inner if scope[items]]
            if inner:
                found.append({**resource, scopes: inner})
        if found:
            kept.append({resources: found})
    return kept


def is_complete(traces: list[Request]) -> bool:
    """Tell whether every parent that a span names is there, and every trace has one root."""
    found = [span for _, span in spans(traces)]
    known = {(span["traceId"], span["spanId"]) for span in found}
    parents = [(span["traceId"], span["parentSpanId"]) for span in found if span.get("parentSpanId")]
    roots = len(found) - len(parents)
    return roots == len({span["traceId"] for span in found}) and all(parent in known for parent in parents)
