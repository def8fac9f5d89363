"""Alertmanager's webhook, version "4", and Grafana's, which is shaped like it; unknown keys are passed on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypocenter.errors import DecodeError

from ..tracer.window import parse_time

# On an alert's labels or annotations: hypocenter wrote it, and it is passed on as it is.
MARK = "hypocenter_incident"
# Alertmanager writes Go's zero time where there is none.
_ZERO_TIME = "0001-01-01"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert; times are nanoseconds since the epoch, None where absent or not a time (a template may write any)."""

    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_ns: int | None
    ends_ns: int | None
    fingerprint: str
    generator_url: str

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels.get("alertname", "alert")


@dataclass(frozen=True, slots=True)
class Notification:
    """What one POST says; ``raw`` is the whole object as it came, to be passed on."""

    status: str
    group_key: str
    alerts: tuple[Alert, ...]
    truncated: int
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def firing(self) -> tuple[Alert, ...]:
        """The alerts that fire."""
        return tuple(alert for alert in self.alerts if alert.status != "resolved")

    @property
    def is_marked(self) -> bool:
        """Whether hypocenter itself raised any of it, or has enriched it already."""
        return any(MARK in alert.labels or MARK in alert.annotations for alert in self.alerts) or MARK in _texts(
            self.raw.get("commonAnnotations")
        )

    @property
    def key(self) -> str:
        """The idempotency key: of the group and of its alerts with their status, the same when it is sent again."""
        parts = sorted(f"{a.fingerprint}/{a.status}/{a.starts_ns}" for a in self.alerts)
        return hashlib.sha256("\n".join([self.group_key, self.status, *parts]).encode()).hexdigest()[:32]

    @property
    def title(self) -> str:
        """The names of the alerts, for people."""
        names = list(dict.fromkeys(alert.name for alert in self.alerts))
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def parse(body: bytes, source: str = "alertmanager") -> Notification:
    """Return the notification in ``body``.

    Only a JSON object is required: keys that are unknown, absent or of another type than documented are tolerated,
    since an alert that cannot be understood must still be passed on.

    Raises
    ------
    DecodeError
        The body is no JSON object.
    """
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DecodeError(source, "body", f"expected a JSON object of webhook version 4: {error}") from error
    if not isinstance(raw, dict):
        raise DecodeError(source, "body", f"expected a JSON object of webhook version 4, got {type(raw).__name__}")
    listed = raw.get("alerts")
    alerts = tuple(_alert(item) for item in listed if isinstance(item, dict)) if isinstance(listed, list) else ()
    status = str(raw.get("status") or ("resolved" if _all_resolved(alerts) else "firing"))
    group_key = str(raw.get("groupKey") or json.dumps(_texts(raw.get("groupLabels")), sort_keys=True))
    truncated = raw.get("truncatedAlerts")
    return Notification(status, group_key, alerts, truncated if isinstance(truncated, int) else 0, raw)


def _alert(item: Mapping[str, Any]) -> Alert:
    labels = _texts(item.get("labels"))
    digest = hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]
    return Alert(
        status=str(item.get("status") or "firing"),
        labels=labels,
        annotations=_texts(item.get("annotations")),
        starts_ns=_time(item.get("startsAt")),
        ends_ns=_time(item.get("endsAt")),
        fingerprint=str(item.get("fingerprint") or digest),
        generator_url=str(item.get("generatorURL") or ""),
    )


def _all_resolved(alerts: tuple[Alert, ...]) -> bool:
    return bool(alerts) and all(alert.status == "resolved" for alert in alerts)


def _texts(value: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def _time(value: Any) -> int | None:
    if not isinstance(value, str) or value.startswith(_ZERO_TIME):
        return None
    try:
        return parse_time(value)
    except ValueError:
        return None
