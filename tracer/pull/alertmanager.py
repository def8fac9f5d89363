"""Alerts of an Alertmanager as events: one when an alert began, one when it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pyarrow as pa

from hypocenter.errors import SourceError

from ..batch import Batch, Tally, table_of
from ..prometheus_labels import identity_of
from ..schema import ATTRIBUTES, EVENTS
from ..window import Window, parse_time
from .prometheus import Progress
from .server import Access, Server

FIRING, RESOLVED = "firing", "resolved"
# Label -> Kubernetes kind of the object that an alert names, the most specific first.
_OBJECTS: Final = {
    "pod": "Pod",
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "job_name": "Job",
    "persistentvolumeclaim": "PersistentVolumeClaim",
    "node": "Node",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as the API tells it; ``end_ns`` is None while it fires."""

    fingerprint: str
    start_ns: int
    end_ns: int | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str


def fetch(
    url: str, window: Window, *, access: Access | None = None, on_progress: Progress | None = None
) -> Iterator[Batch]:
    """Yield an event for each alert that fires now, or ended lately, and began or ended in ``window``.

    Alertmanager keeps no history: alerts that ended some time ago are gone. Silenced and inhibited ones are told too,
    with that state. Raises SourceError as `prometheus.fetch` does.
    """
    tally = Tally()
    with Server(url, access or Access(), "Alertmanager") as server:
        alerts, base = read_alerts(server, time.time_ns(), tally), server.base
    yield to_batch(alerts, base, window, tally)
    (on_progress or (lambda share: None))(1.0)


def read_alerts(server: Server, now_ns: int, tally: Tally) -> list[Alert]:
    """Return the alerts that the server knows; malformed ones are counted as dropped."""
    answer = server.json("/api/v2/alerts")
    if not isinstance(answer, list):
        raise SourceError(f"{server.base}: not an Alertmanager: expected a list of alerts; check the address")
    found = []
    for place, one in enumerate(answer):
        try:
            found.append(_alert(one, now_ns))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            tally.drop("malformed alert", f"{server.base}: alert {place}: {type(error).__name__}: {str(error)[:100]}")
    return found


def to_batch(alerts: Sequence[Alert], source: str, window: Window | None, tally: Tally) -> Batch:
    """Return the events of alerts whose beginning or end lies in ``window`` (None: any time)."""
    moments = [
        (time_ns, state, alert)
        for alert in alerts
        for time_ns, state in ((alert.start_ns, FIRING), (alert.end_ns, RESOLVED))
        if time_ns is not None and (window is None or window.start_ns <= time_ns < window.end_ns)
    ]
    moments.sort(key=lambda one: (one[0], one[2].fingerprint, one[1]))
    labels = [alert.labels for _, _, alert in moments]
    kinds = [next((key for key in _OBJECTS if one.get(key)), None) for one in labels]
    names = [one.get("alertname", "alert") for one in labels]
    columns = {
        "time_ns": [time_ns for time_ns, _, _ in moments],
        "kind": "alert",
        "reason": names,
        "message": [_message(alert, state) for _, state, alert in moments],
        "object_kind": [kind and _OBJECTS[kind] for kind in kinds],
        "object_name": [kind and one[kind] for kind, one in zip(kinds, labels, strict=True)],
        "namespace": [one.get("namespace") for one in labels],
        "service": [identity_of(name, one).service for name, one in zip(names, labels, strict=True)],
        "attributes": pa.array([_attributes(alert, state) for _, state, alert in moments], ATTRIBUTES),
        "source": source,
    }
    tally.accepted["events"] += len(moments)
    return Batch({"events": table_of(EVENTS, columns, len(moments))}, tally)


def firing_in(events: pa.Table) -> list[Alert]:
    """Return the alerts whose events (`to_batch`) tell a beginning and no end since."""
    found: dict[str, Alert] = {}
    for row in events.sort_by("time_ns").to_pylist():
        told = {key: orjson.loads(value) for key, value in row["attributes"] or ()}
        fingerprint = str(told.get("fingerprint"))
        if told.get("status") == RESOLVED:
            found.pop(fingerprint, None)
        elif told.get("status") == FIRING:
            labels, notes = (
                {key.removeprefix(prefix): str(value) for key, value in told.items() if key.startswith(prefix)}
                for prefix in ("label.", "annotation.")
            )
            found[fingerprint] = Alert(fingerprint, row["time_ns"], None, labels, notes, str(told.get("state")))
    return list(found.values())


def _alert(given: Mapping[str, Any], now_ns: int) -> Alert:
    # Of an alert that fires, this is when it would be taken for ended.
    end_ns = parse_time(str(given["endsAt"]))
    state = given.get("status")
    return Alert(
        str(given["fingerprint"]),
        parse_time(str(given["startsAt"])),
        end_ns if 0 < end_ns <= now_ns else None,
        {str(key): str(value) for key, value in given["labels"].items()},
        {str(key): str(value) for key, value in (given.get("annotations") or {}).items()},
        str(state.get("state", "active")) if isinstance(state, dict) else "active",
    )


def _message(alert: Alert, state: str) -> str:
    texts = (alert.annotations.get(name) for name in ("summary", "description", "message"))
    text = next((one for one in texts if one), alert.labels.get("alertname", "alert"))
    return text if state == FIRING else f"resolved: {text}"


def _attributes(alert: Alert, state: str) -> list[tuple[str, str]]:
    labels = {f"label.{key}": value for key, value in alert.labels.items()}
    notes = {f"annotation.{key}": value for key, value in alert.annotations.items()}
    own = {"fingerprint": alert.fingerprint, "status": state, "state": alert.state}
    return [(key, orjson.dumps(value).decode()) for key, value in {**own, **labels, **notes}.items()]
