"""The pages: the list of recent incidents, and one with its proof, its history and the feedback buttons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..report.environment import environment, policy
from ..tracer.window import SECOND_NS, to_rfc3339
from .incidents import Incident
from .text import named, proof_of, span_of, summary_of, time_of_day

_LISTED = 100
_ALERTS = 200
_UNKNOWN = "unknown"


def list_page(incidents: Iterable[Incident]) -> str:
    """Return the list of the newest incidents as HTML."""
    shown = [_view(incident) for incident, _ in zip(incidents, range(_LISTED), strict=False)]
    return _render(heading="Incidents", incident=None, incidents=shown)


def incident_page(incident: Incident) -> str:
    """Return an incident's page as HTML."""
    view = _view(incident)
    finding = incident.finding
    view |= {
        "lines": proof_of(finding) if finding else (),
        "origin": incident.origin,
        "services": sorted({*(finding or {}).get("candidates", ()), *(finding or {}).get("related", ())}),
        "updates": [{"at": time_of_day(u["time_ns"]), "text": u["text"]} for u in reversed(incident.updates)],
        "alerts": [
            {"name": a["name"], "service": a["service"] or _UNKNOWN, "status": a["status"]}
            for a in list(incident.alerts.values())[:_ALERTS]
        ],
        "not_checked": (finding or {}).get("not_checked", ()),
    }
    return _render(heading=view["summary"], incident=view, incidents=())


def _view(incident: Incident) -> dict[str, Any]:
    end = incident.end_ns
    moment = f"{to_rfc3339(incident.begin_ns)[:10]} {time_of_day(incident.begin_ns)}"
    if end is None:
        state = f"firing since {moment}"
    else:
        state = f"{moment}, resolved, lasted {span_of((end - incident.begin_ns) / SECOND_NS)}"
    return {
        "id": incident.id,
        "summary": summary_of(incident.finding) if incident.finding else "No answer",
        "state": state,
        "title": incident.title,
        "felt": named(incident.services) or incident.symptom or _UNKNOWN,
        "resolved_ns": incident.resolved_ns,
        "feedback": (incident.feedback or {}).get("text"),
    }


def _render(**values: Any) -> str:
    return environment("hypocenter.hook").get_template("pages.html").render(policy=policy(forms="'self'"), **values)
