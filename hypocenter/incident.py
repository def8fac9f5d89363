"""A ranking with its case, for people: it prints, shows itself in a notebook, draws, explains and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CaseError
from .tracer.window import Window

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from .analysis.case import Case
    from .analysis.ranking import Candidate, Ranking
    from .graph.dependency_graph import DependencyGraph
    from .report.sections import Page


@dataclass(frozen=True)
class Explanation:
    """What speaks for and against one candidate, and what nobody looked at."""

    candidate: Candidate
    not_checked: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return a row per finding: kind, nats (below 0 it speaks against), text, onset (UTC)."""
        import pandas as pd

        evidence = [*self.candidate.evidence_for, *self.candidate.evidence_against]
        rows = [(e.kind, e.score, e.text, e.onset_ns) for e in evidence]
        frame = pd.DataFrame(rows, columns=["kind", "nats", "text", "onset"])
        return frame.assign(onset=pd.to_datetime(frame.onset.astype("Int64"), utc=True))

    def evidence(self, rank: int = 1) -> pd.DataFrame:
        """Return the findings as `hypocenter.figures.evidence_bars` takes them; one empty row where there are none."""
        import pandas as pd

        from .report.answer import percent

        one = self.candidate
        found: list[tuple[str | None, float, str]] = [
            (e.kind, e.score, e.text) for e in (*one.evidence_for, *one.evidence_against)
        ]
        frame = pd.DataFrame(found or [(None, float("nan"), "")], columns=["kind", "score", "text"])
        chance = "" if one.probability is None else percent(one.probability)
        return frame.assign(rank=rank, entity=one.entity, chance=chance)

    def figure(self) -> go.Figure:
        """Return the evidence as bars."""
        from .figures import evidence_bars

        return evidence_bars(self.evidence())

    def __repr__(self) -> str:
        from .legible import visible
        from .report.answer import name_of, percent

        one = self.candidate
        head = name_of(one) + ("" if one.probability is None else f", {percent(one.probability)}")
        lines = [f"  {e.score:+.1f} nats  {e.kind}: {e.text}" for e in (*one.evidence_for, *one.evidence_against)]
        lines += [f"  not checked: {reason}" for reason in self.not_checked]
        return "\n".join(visible(line) for line in [head, *(lines or ["  nothing speaks for or against it"])])

    def _repr_html_(self) -> str:
        return f"<pre>{_escaped(repr(self))}</pre>"


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)


@dataclass(frozen=True)
class RankedIncident:
    """A ranking with the case it speaks of; it prints as the terminal's answer and shows as a card in a notebook."""

    ranking: Ranking
    case: Case

    @cached_property
    def graph(self) -> DependencyGraph | None:
        """The dependency graph of the incident's spans; None without spans."""
        from .graph.dependency_graph import DependencyGraph
        from .graph.rollup import STEP_NS, roll_up
        from .report.traffic import bounds

        window = bounds(self.case)
        if window is None or not self.case.telemetry.table("spans").num_rows:
            return None
        whole = Window(window[0] // STEP_NS * STEP_NS, -(-window[1] // STEP_NS) * STEP_NS)
        return DependencyGraph.of(roll_up(self.case.links), whole)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per candidate by rank: entity, kind, service, probability, onset (UTC), score, path, texts."""
        import pandas as pd

        rows = [
            {
                "rank": rank,
                "entity": c.entity,
                "kind": c.kind,
                "service": c.service,
                "probability": c.probability,
                "onset": pd.to_datetime(c.onset_ns, unit="ns", utc=True) if c.onset_ns is not None else pd.NaT,
                "score": c.score,
                "path": " -> ".join(c.path),
                "speaks_for": "; ".join(e.text for e in c.evidence_for),
                "speaks_against": "; ".join(e.text for e in c.evidence_against),
            }
            for rank, c in enumerate(self.ranking.candidates, 1)
        ]
        columns = ["entity", "kind", "service", "probability", "onset", "score", "path", "speaks_for", "speaks_against"]
        return pd.DataFrame(rows, columns=["rank", *columns]).set_index("rank")

    def explain(self, candidate: str | int = 1) -> Explanation:
        """Return what speaks for and against a candidate (its place, entity or service).

        CaseError names the candidates that there are.
        """
        known = self.ranking.candidates
        place = candidate - 1 if isinstance(candidate, int) else None
        chosen = known[place : place + 1] if place is not None and place >= 0 else ()
        if isinstance(candidate, str):
            chosen = tuple(c for c in known if candidate in (c.entity, c.service))
        if not chosen:
            raise CaseError(f"no candidate {candidate!r}; there are {', '.join(c.entity for c in known[:10])}")
        return Explanation(chosen[0], self.ranking.not_checked)

    def figure(self) -> go.Figure:
        """Return the evidence of the first candidates as bars."""
        from .figures import evidence_bars

        return evidence_bars(self.evidence())

    def evidence(self) -> pd.DataFrame:
        """Return a row per finding: rank, entity, chance, kind, score (nats), text; one where there is none."""
        import pandas as pd

        found = [Explanation(c).evidence(rank) for rank, c in enumerate(self.ranking.candidates, 1)]
        columns = ["rank", "entity", "chance", "kind", "score", "text"]
        return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)

    def propagation(self) -> go.Figure:
        """Return the ways from possible origins to the symptom; CaseError when no calls connect them."""
        return self._drawing("spread")

    def map(self) -> go.Figure:
        """Return the service map with the origin and where it hurts; CaseError without spans."""
        return self._drawing("map")

    def timeline(self) -> go.Figure:
        """Return rate, errors, duration and the metrics that moved of the first candidate; CaseError without any."""
        return self._drawing("timeline-0")

    def traces(self) -> tuple[go.Figure, go.Figure]:
        """Return the waterfalls of a bad trace since the onset and a usual one before; CaseError without them."""
        return self._drawing("trace-bad"), self._drawing("trace-good")

    def report(self, path: Path | str, links: Mapping[str, str] | None = None) -> Path:
        """Write the self-contained page to ``path`` and return it; where it ends with ``.md``, Markdown.

        ``links`` are URL templates by name, into Jaeger or Grafana say (`hypocenter.report.links.KNOWN` may stand in
        braces); ValueError for one that cannot be filled in.
        """
        from .report.html import write_report
        from .report.links import checked

        return write_report(self.ranking, self.case, self.graph, path, checked(links or {}))

    @cached_property
    def _page(self) -> Page:
        from .report.sections import build

        return build(self.ranking, self.case, self.graph)

    def _drawing(self, name: str) -> go.Figure:
        import plotly.graph_objects as go

        drawings = {d.name: d for d in self._page.drawings}
        if name not in drawings:
            known = ", ".join(drawings) or "nothing"
            raise CaseError(f"the telemetry of this incident does not show the {name}; it shows: {known}")
        return go.Figure(drawings[name].figure)  # a copy: what is done to it is not seen elsewhere

    def __repr__(self) -> str:
        from rich.console import Console

        from .report.text import to_text

        console = Console(width=100, color_system=None)
        with console.capture() as captured:
            console.print(to_text(self.ranking, self.case))
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    def _repr_html_(self) -> str:
        from .report.html import to_card

        return to_card(self.ranking, self.case)
