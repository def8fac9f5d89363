"""PagerDuty's Events API, version 2."""

from __future__ import annotations

import hashlib
from typing import Any

from ...legible import shortened
from ..config import SinkConfig
from ..payload import MARK, Notification
from ..sink import Outgoing, Sink, to_json
from ..text import Enrichment
from .webhook import to_annotations

_SUMMARY = 1024
_DETAIL = 4000  # characters of one detail; the whole event may hold 512 KB
_ALERTS = 20
_SEVERITIES = {"critical": "critical", "page": "critical", "error": "error", "warning": "warning", "info": "info"}


class PagerDuty(Sink):
    """One PagerDuty alert a group, as Alertmanager makes it: later events of the group update it or resolve it."""

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        assert config.routing_key is not None
        self._routing_key = config.routing_key.read(config.key("routing_key"))

    def render(self, note: Notification, added: Enrichment | None) -> Outgoing:
        """Return the event."""
        title = note.title or "alert"
        summary = f"{title}: {added.summary}" if added else title
        details: dict[str, Any] = {
            "alerts": [dict(alert.labels) for alert in note.alerts[:_ALERTS]],
            "firing": len(note.firing),
        }
        if added:
            details |= {name: shortened(text, _DETAIL) for name, text in to_annotations(added).items() if name != MARK}
        severity = next((s for a in note.alerts if (s := _SEVERITIES.get(a.labels.get("severity", "")))), "error")
        origin = (added.finding or {}).get("origin") if added else None
        service = origin["service"] if origin else next((a.labels.get("service") for a in note.alerts), None)
        event: dict[str, Any] = {
            "routing_key": self._routing_key,
            "event_action": "resolve" if note.status == "resolved" else "trigger",
            # The group, not the incident: a group's end must find what its begin opened, enriched or not.
            "dedup_key": hashlib.sha256(note.group_key.encode()).hexdigest(),
            "payload": {
                "summary": shortened(summary, _SUMMARY),
                "source": service or title,
                "severity": severity,
                "custom_details": details,
            },
        }
        if added and added.url:
            event["links"] = [{"href": added.url, "text": "Report of the incident"}]
        return Outgoing(to_json(event))
