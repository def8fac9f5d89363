"""Alertmanager's webhook, version 4, out as it came in, with ``hypocenter_*`` annotations."""

from __future__ import annotations

from typing import Any

from ...tracer.window import to_rfc3339
from ..payload import MARK, Notification
from ..sink import Outgoing, Sink, to_json
from ..text import Enrichment


class Webhook(Sink):
    """Any receiver of the webhook takes it: nothing is removed or renamed, annotations are added."""

    def render(self, note: Notification, added: Enrichment | None) -> Outgoing:
        """Return the payload; untouched when there is nothing to add."""
        if added is None:
            return Outgoing(to_json(note.raw))
        extra = to_annotations(added)
        enriched: dict[str, Any] = dict(note.raw)
        enriched["commonAnnotations"] = _with(enriched.get("commonAnnotations"), extra)
        alerts = enriched.get("alerts")
        if isinstance(alerts, list):
            enriched["alerts"] = [
                alert | {"annotations": _with(alert.get("annotations"), extra)} if isinstance(alert, dict) else alert
                for alert in alerts
            ]
        return Outgoing(to_json(enriched))


def to_annotations(added: Enrichment) -> dict[str, str]:
    """Return what is added, as annotations: texts, absent where unknown."""
    found: dict[str, str | None] = {
        MARK: added.incident,
        "hypocenter_summary": added.summary,
        "hypocenter_details": "\n".join(f"{label}: {text}" for label, text in added.lines),
        "hypocenter_update": None if added.role == "first" else added.role,
        "hypocenter_follow_up": "true" if added.follow_up else None,
        "hypocenter_report": added.url,
    }
    finding = added.finding
    if finding is not None:
        origin = finding["origin"] or {}
        chance = finding["probability"]
        found |= {
            "hypocenter_outcome": finding["outcome"],
            "hypocenter_origin": origin.get("entity"),
            "hypocenter_origin_kind": origin.get("kind"),
            "hypocenter_origin_service": origin.get("service"),
            "hypocenter_probability": None if chance is None else f"{chance:.3f}",
            "hypocenter_onset": to_rfc3339(finding["onset_ns"]) if finding["onset_ns"] else None,
            "hypocenter_path": " -> ".join(finding["path"]),
            "hypocenter_look_at": "\n".join([*finding["look_at"], *finding["commands"]]),
            "hypocenter_not_checked": "\n".join(finding["not_checked"]),
        }
    return {name: text for name, text in found.items() if text}


def _with(value: Any, extra: dict[str, str]) -> dict[str, Any]:
    # A templated payload may hold anything here; what is no object cannot take annotations and is replaced by ours.
    return (value if isinstance(value, dict) else {}) | extra
