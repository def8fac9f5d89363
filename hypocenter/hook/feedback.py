"""What people say about an answer, kept as a labelled case that ``hypocenter evaluate`` reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypocenter.errors import CaseError

from .incidents import Incident

_LONGEST_NAME = 253


@dataclass(frozen=True, slots=True)
class Feedback:
    """``service`` is the true origin's; None: nothing was wrong."""

    verdict: str  # right wrong none
    service: str | None

    @classmethod
    def read(cls, values: Mapping[str, Any], incident: Incident) -> Feedback:
        """Return what a form or a JSON object says; CaseError names what is missing."""
        verdict = str(values.get("verdict", ""))
        named = str(values.get("origin") or "").strip()
        if verdict == "right":
            if incident.origin_service is None:
                raise CaseError("verdict right: this incident has no answer that could be right")
            return cls(verdict, incident.origin_service)
        if verdict == "wrong":
            if not named or len(named) > _LONGEST_NAME:
                raise CaseError("verdict wrong: origin must name the service where it began")
            return cls(verdict, named)
        if verdict == "none":
            return cls(verdict, None)
        raise CaseError(f"verdict: expected right, wrong or none (nothing was wrong), got {verdict!r}")

    def label(self) -> dict[str, Any]:
        """Return the label's fields of a case."""
        return {"system": "hook", "fault_type": "incident", "root_cause_service": self.service}

    def text(self) -> str:
        """Return it for the incident's history."""
        said = {"right": "the origin is right", "none": "nothing was wrong"}
        return f"Feedback: {said.get(self.verdict) or f'the origin was {self.service}'}"
