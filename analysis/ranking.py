"""The small values at the end of the pipeline: Evidence, Candidate, Ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["ranked", "no-origin", "not-applicable", "failed"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One finding about a candidate.

    ``score`` is in nats, higher is more incriminating, negative speaks against; ``onset_ns`` is None when unknown;
    ``command`` is what to run next, None when the evidence knows none.
    """

    kind: str
    score: float
    text: str
    onset_ns: int | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible origin: ``entity`` (an edge is ``a -> b``), its kind and the service that it belongs to.

    ``pod`` is the one that evidence names, else the only one that the service has; ``operation`` the one that the
    strongest evidence points at; ``indicator`` what shows it (cpu, memory, latency, network, error, code, ...);
    ``where`` says which of its visits are bad and which are not. None where nothing tells.
    """

    entity: str
    kind: str  # service operation pod node edge database messaging external object change
    service: str
    probability: float | None
    onset_ns: int | None = None
    score: float = 0.0
    evidence_for: tuple[Evidence, ...] = ()
    evidence_against: tuple[Evidence, ...] = ()
    path: tuple[str, ...] = ()  # from the origin to the symptom
    pod: str | None = None
    operation: str | None = None
    indicator: str | None = None
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates from the most to the least likely; on ``no-origin`` they are kept as the forced order."""

    ranker: str
    outcome: Outcome
    candidates: tuple[Candidate, ...] = ()
    not_checked: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    error: str | None = None
    symptom: str | None = None  # where it hurts, as given or found
    onset_ns: int | None = None  # of the first candidate's evidence
    window_ns: tuple[int, int] | None = None  # the incident that the first candidate was weighed on

    def services(self) -> list[tuple[str, float]]:
        """Return (service, score) with the first candidate of each service, in order."""
        seen: dict[str, float] = {}
        for candidate in self.candidates:
            seen.setdefault(candidate.service, candidate.score)
        return list(seen.items())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON shape that `hypocenter rank -o json` prints."""
        from dataclasses import asdict

        return asdict(self)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per candidate in order: entity, kind, service, probability, score, onset (UTC), evidence."""
        import pandas as pd

        columns = ["entity", "kind", "service", "probability", "score"]
        frame = pd.DataFrame([[getattr(c, name) for name in columns] for c in self.candidates], columns=columns)
        frame["onset"] = pd.to_datetime(pd.Series([c.onset_ns for c in self.candidates], dtype="Int64"), utc=True)
        frame["evidence"] = [c.evidence_for[0].text if c.evidence_for else "" for c in self.candidates]
        return frame
