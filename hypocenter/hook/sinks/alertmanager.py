"""An alert of the incident's own, raised in Alertmanager: routed, silenced and repeated like any other."""

from __future__ import annotations

import time

from ...tracer.window import MINUTE_NS, to_rfc3339
from ..payload import MARK, Notification
from ..sink import Outgoing, Sink, to_json
from ..text import Enrichment
from .webhook import to_annotations

# Alertmanager ends it then, unless the incident speaks again.
_LASTS_NS = 30 * MINUTE_NS


class Alertmanager(Sink):
    """``url`` is Alertmanager's ``/api/v2/alerts``.

    The alert is another one than those that came: annotations posted onto those would be overwritten by Prometheus'
    next send. It carries the incident's id as a label, by which the hook knows it when it comes round and adds nothing.
    """

    def render(self, note: Notification, added: Enrichment | None) -> Outgoing | None:
        """Return the alert of an incident with an origin, None otherwise."""
        origin = (added.finding or {}).get("origin") if added else None
        if added is None or origin is None or note.is_marked:
            return None
        now = time.time_ns()
        ends = now if added.summary.startswith("Resolved: ") else now + _LASTS_NS
        alert = {
            "labels": {
                "alertname": "HypocenterOrigin",
                "service": origin["service"],
                "severity": "info",
                MARK: added.incident,
            },
            "annotations": {name: text for name, text in to_annotations(added).items() if name != MARK}
            | {"summary": added.summary},
            "endsAt": to_rfc3339(ends),
        }
        return Outgoing(to_json([alert]))
