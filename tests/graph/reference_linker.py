"""The linking rules of docs/linking.md once more: slow, obvious, span by span, sharing no code with the product.

`link` counts calls as tuples (caller, caller kind, callee, callee kind, matched, client span id, server span id, queue
time, time on the critical path) and unlinked spans as (trace id, span id, reason), and gives the times of a span's own
by trace id, span id and kind: exclusive, and on the critical path. Of calls that services make it also counts
requests, retries and hedges by (caller, callee).
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
CACHES = {"redis", "memcached", "valkey", "keydb", "hazelcast", "ehcache", "aerospike"}


@dataclass
class Reference:
    calls: Counter[tuple[Any, ...]]
    unlinked: Counter[tuple[str, str, str]]
    exclusive_ns: dict[tuple[str, str, int], int]
    critical_ns: dict[tuple[str, str, int], int]
    sent_ns: dict[tuple[str, str], int]
    attempts: list[Attempt]

    def counts(self) -> Counter[tuple[str, str, str]]:
        """Return (caller, callee, what) of requests, retries and hedges."""
        found: Counter[tuple[str, str, str]] = Counter()
        groups: dict[tuple[int, str], list[Attempt]] = defaultdict(list)
        for attempt in self.attempts:
            groups[(attempt.request, attempt.callee)].append(attempt)
        for group in groups.values():
            ends = (group[0].caller, group[0].callee)
            found[(*ends, "caller_requests")] += 1
            for asked in {attempt.asked for attempt in group}:
                alike = sorted((a for a in group if a.asked == asked), key=lambda a: a.order)
                for before, after in itertools.pairwise(alike):
                    if None not in (before.answered, after.answered) and before.answered != after.answered:
                        continue
                    if after.start < before.end:
                        found[(*ends, "hedges")] += 1
                    elif before.failed:
                        found[(*ends, "retries")] += 1
        return found


@dataclass
class Attempt:
    request: int
    caller: str
    callee: str
    asked: str
    answered: str | None
    start: int
    end: int
    failed: bool

    @property
    def order(self) -> tuple[Any, ...]:
        return (self.start, self.end, self.failed, self.answered or "")


@dataclass
class Span:
    row: Row
    service: str
    part: int
    aside: str | None
    peer: str | None
    peer_kind: str
    parent: Span | None = None
    kind: int = 0
    critical_ns: int = 0
    whole_ns: int = 0

    @property
    def is_client(self) -> bool:
        return self.part in (3, 4)

    @property
    def start(self) -> int:
        return int(self.row["start_ns"])

    @property
    def end(self) -> int:
        return self.start + int(self.row["duration_ns"])

    @property
    def is_foreign(self) -> bool:
        return self.parent is not None and self.parent.service != self.service

    @property
    def is_arrival(self) -> bool:
        if self.aside is not None:
            return False
        if self.part == 5 and self.peer is None and self.parent is None:
            return False
        return self.part in (2, 5) or self.is_foreign or (self.part == 0 and self.parent is None)

    @property
    def failed(self) -> bool:
        return bool(self.row["status"] == 2)

    @property
    def request(self) -> int:
        """The nearest span, itself included, that took up a request of its service; itself where there is none."""
        span, seen = self, set()
        while not (span.is_arrival or span.is_foreign or span.parent is None):
            if id(span) in seen:
                return id(self)
            seen.add(id(span))
            span = span.parent
        return id(span)

    @property
    def is_answer(self) -> bool:
        return self.is_arrival and self.parent is not None and not (self.part == 5 and self.peer is not None)


def _nodes(rows: list[Row]) -> list[str]:
    """Return the node that the service of each row is: told apart by what several use, one after the other."""
    nodes = [row["service"] or "unknown_service" for row in rows]
    for field in ("service_namespace", "environment", "cluster"):
        users = defaultdict(set)
        for node, row in zip(nodes, rows, strict=True):
            if row[field]:
                users[node].add(row[field])
        for at, row in enumerate(rows):
            if row[field] and len(users[nodes[at]]) > 1:
                is_namespace = field == "service_namespace"
                nodes[at] = f"{row[field]}/{nodes[at]}" if is_namespace else f"{nodes[at]}@{row[field]}"
    return nodes


def _span(row: Row, service: str) -> Span:
    part, aside = row["kind"], None
    is_messaging = bool(row["messaging_system"] or row["messaging_destination"])
    is_database = bool(row["db_system"] or row["db_name"])
    if is_messaging:
        operation = row["messaging_operation"]
        if operation in ("process", "deliver") or row["kind"] == 5:
            part = 5
        elif operation in ("create", "receive", "settle"):
            part, aside = 1, f"messaging-{operation}"
        elif operation in ("send", "publish") or row["kind"] in (3, 4):
            part = 4
        peer = row["messaging_destination"] or row["peer_service"] or row["peer_address"] or row["messaging_system"]
        return Span(row, service, part, aside, peer, "messaging")
    if part == 0 and is_database:
        part = 3
    peer = row["peer_service"] or row["peer_address"] or row["db_name"] or row["db_system"]
    kind = "cache" if row["db_system"] in CACHES else "database" if is_database else "external"
    return Span(row, service, part, None, peer, kind)


def link(rows: list[Row]) -> Reference:
    result = Reference(Counter(), Counter(), {}, {}, {}, [])
    traces = defaultdict(list)
    for row, node in zip(rows, _nodes(rows), strict=True):
        traces[row["trace_id"]].append(_span(row, node))
    every = [span for spans in traces.values() for span in spans]
    processing = {(span.service, span.peer) for span in every if span.part == 5 and span.peer_kind == "messaging"}
    for span in every:
        if span.aside == "messaging-receive" and (span.service, span.peer) not in processing:
            span.part, span.aside = 5, None
    for span in sorted(every, key=_content):
        if span.part == 4 or span.aside == "messaging-create":
            result.sent_ns.setdefault((span.row["trace_id"], span.row["span_id"]), span.end)
    for trace, spans in traces.items():
        _link_trace(trace, spans, result)
    return result


def _content(span: Span) -> tuple[Any, ...]:
    return (span.start, span.row["duration_ns"])


def _link_trace(trace: str, spans: list[Span], result: Reference) -> None:
    sides: dict[str, dict[bool, Span]] = defaultdict(dict)
    for span in sorted(spans, key=_content):
        held = sides[span.row["span_id"]]
        if span.is_client in held:
            result.unlinked[(trace, span.row["span_id"], "duplicate")] += 1
        else:
            held[span.is_client] = span
    kept = [span for held in sides.values() for span in held.values()]
    for span in kept:
        span.parent = _parent(span, sides)
    children: dict[int, list[Span]] = defaultdict(list)
    for span in kept:
        if span.parent is not None:
            children[id(span.parent)].append(span)
    for span in kept:
        below = children[id(span)]
        if span.part:
            span.kind = span.part
        elif span.parent is None or span.is_foreign:
            span.kind = 2
        else:
            span.kind = 3 if any(child.is_foreign for child in below) else 1
    for span in kept:
        if span.parent is None:
            _walk(span, span.start, span.end, children)
    answers = {id(span): [c for c in children[id(span)] if c.is_answer] for span in kept}
    for span in kept:
        _judge(trace, span, answers, result)
        _exclusive(trace, span, children, answers, result)
        result.critical_ns[(trace, span.row["span_id"], span.kind)] = span.critical_ns


def _walk(span: Span, begin: int, end: int, children: dict[int, list[Span]]) -> None:
    """Walk the critical path from the end of a span to its start, into the child that ended last."""
    span.whole_ns, reached = end - begin, end
    inside = [(min(c.end, end), max(c.start, begin), c.row["span_id"], id(c), c) for c in children[id(span)]]
    for stop, go, _, _, child in sorted(inside, reverse=True):
        if go < stop <= reached:
            span.critical_ns += reached - stop
            _walk(child, go, stop, children)
            reached = go
    span.critical_ns += reached - begin


def _parent(span: Span, sides: dict[str, dict[bool, Span]]) -> Span | None:
    own = sides[span.row["span_id"]]
    if not span.is_client and True in own:
        return own[True]
    parent_id = span.row["parent_span_id"]
    if parent_id is None or parent_id == span.row["span_id"] or parent_id not in sides:
        return None
    held = sides[parent_id]
    if len(held) == 1:
        return next(iter(held.values()))
    client, server = held[True], held[False]
    return client if span.service == client.service and span.service != server.service else server


def _judge(trace: str, span: Span, answers: dict[int, list[Span]], result: Reference) -> None:
    is_linked = False
    own_id = span.row["span_id"]
    if span.kind in (3, 4) and span.peer is not None and (span.kind == 4 or not answers[id(span)]):
        matched = "producer" if span.kind == 4 else "client-only"
        result.calls[
            (span.service, "service", span.peer, span.peer_kind, matched, own_id, None, None, span.whole_ns)
        ] += 1
        result.attempts.append(_attempt(span, span.peer, span, None, span.failed))
        is_linked = True
    if span.kind in (3, 4) and answers[id(span)]:
        is_linked = True
    if span.is_arrival:
        call = _arrival(span, answers)
        if call[4] == "consumer":
            sent = [result.sent_ns.get(key) for key in _linked(span)]
            queues = sorted(
                (None if ns is None else span.start - ns for ns in sent), key=lambda q: (q is not None, -(q or 0))
            )
            if queues and not (span.parent is not None and span.parent.kind == 4):
                # Without its parent's message, it is a side of the first that it links.
                call = (*call[:7], queues.pop(0), call[8])
            for queue in queues:
                result.calls[(*call[:4], "linked", None, None, queue, 0)] += 1
        result.calls[call] += 1
        if call[1] == "service":
            parent, own = span.parent, span if call[6] is not None else None
            several = len(answers[id(parent)]) > 1
            timed = parent if call[5] is not None and not (several and own) else span
            failed = (call[5] is not None and parent.failed) or (own is not None and span.failed)
            result.attempts.append(_attempt(parent, span.service, timed, own, failed))
        is_linked = is_linked or span.kind not in (3, 4)
    if not is_linked:
        reasons = {5: "consumer-without-broker", 4: "producer-without-broker", 3: "client-without-peer"}
        reason = span.aside or reasons.get(span.kind, "in-process")
        result.unlinked[(trace, own_id, reason)] += 1


def _attempt(caller: Span, callee: str, timed: Span, server: Span | None, failed: bool) -> Attempt:
    answered = server.row["name"] if server is not None else None
    return Attempt(caller.request, caller.service, callee, caller.row["name"], answered, timed.start, timed.end, failed)


def _linked(span: Span) -> set[tuple[str, str]]:
    named = {(link["trace_id"], link["span_id"]) for link in span.row["links"] or []}
    return named - {(span.row["trace_id"], span.row["parent_span_id"])}


def _arrival(span: Span, answers: dict[int, list[Span]]) -> tuple[Any, ...]:
    parent, own_id = span.parent, span.row["span_id"]
    server_id = None if span.kind in (3, 4) else own_id
    broker = span.peer if span.kind == 5 else None
    if broker is None and parent is not None and parent.kind == 4:
        broker = parent.peer
    if broker is not None:
        queue = span.start - parent.end if parent is not None and parent.kind == 4 else None
        return (
            broker,
            "messaging",
            span.service,
            "service",
            "consumer",
            None,
            server_id,
            queue,
            span.whole_ns if server_id else 0,
        )
    if parent is None:
        matched = "missing-parent" if span.row["parent_span_id"] is not None else "server-only"
        return (
            "external",
            "external",
            span.service,
            "service",
            matched,
            None,
            server_id,
            None,
            span.whole_ns if server_id else 0,
        )
    first = min(answers[id(parent)], key=lambda s: (s.start, s.row["duration_ns"], s.row["span_id"]))
    matched = "no-server-span" if server_id is None else "no-client-span"
    client_id = None
    if parent.kind in (3, 4) and first is not span:
        matched = "repeat"
    elif parent.kind in (3, 4):
        client_id = parent.row["span_id"]
        matched = "pair" if server_id is not None else "no-server-span"
    critical_ns = parent.whole_ns if client_id is not None else span.whole_ns if server_id is not None else 0
    return (parent.service, "service", span.service, "service", matched, client_id, server_id, None, critical_ns)


def _exclusive(
    trace: str, span: Span, children: dict[int, list[Span]], answers: dict[int, list[Span]], result: Reference
) -> None:
    intervals = [(max(c.start, span.start), min(c.end, span.end)) for c in children[id(span)]]
    if span.kind == 1 and not answers[id(span)] and span.parent is not None:
        for sibling in children[id(span.parent)]:
            is_within = span.start <= sibling.start and sibling.end <= span.end
            if is_within and sibling.end - sibling.start < span.end - span.start:
                intervals.append((sibling.start, sibling.end))
    covered = {at for begin, end in intervals for at in range(begin, end)}
    result.exclusive_ns[(trace, span.row["span_id"], span.kind)] = span.end - span.start - len(covered)
