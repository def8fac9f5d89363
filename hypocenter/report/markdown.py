"""The answer as Markdown, for a ticket, a chat or a post-mortem: the words of the page without its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .answer import answer, clock, grouped, name_of, percent
from .escape import for_markdown as text
from .links import links
from .traffic import bounds

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..analysis.ranking import Candidate, Ranking

_CANDIDATES = 6


def to_markdown(ranking: Ranking, case: Case, templates: Mapping[str, str] | None = None) -> str:
    """Return the answer, its evidence, what was not checked and what to do next; what telemetry wrote stays text.

    ``templates`` are links into other tools (`hypocenter.report.links`).
    """
    return "\n".join(_lines(ranking, case, templates or {})) + "\n"


def _lines(ranking: Ranking, case: Case, templates: Mapping[str, str]) -> Iterator[str]:
    told, window = answer(ranking, case), bounds(case)
    yield f"# {text(told.headline)}"
    yield ""
    yield f"**{text(told.certainty)}**{f'; {text(told.since)}' if told.since else ''}"
    if told.where:
        yield f"{text(told.where)}."
    if window is not None:
        yield f"Incident of {clock(window[0])} to {clock(window[1])}."
    if told.steps:
        yield ""
        for number, step in enumerate(told.steps, 1):
            yield f"{number}. {step.role}: **{text(step.entity)}**: {text(step.fact)}"
    if told.look_at or told.commands:
        yield from ("", "## Look at next", "")
        yield from (f"- {text(look)}" for look in told.look_at)
        # Commands hold nothing but what a shell takes as words, so none ends the block.
        yield from ("", "```sh", *told.commands, "```") if told.commands else ()
    first = ranking.candidates[0] if ranking.candidates else None
    if first is not None and (found := links(templates, window, service=first.service, entity=first.entity)):
        yield ""
        yield "Open in " + ", ".join(f"[{text(link.name)}](<{link.url}>)" for link in found)
    yield from ("", "## Evidence", "")
    for rank, candidate in enumerate(ranking.candidates[:_CANDIDATES], 1):
        yield from _candidate(rank, candidate)
    if len(ranking.candidates) > _CANDIDATES:
        yield f"and {len(ranking.candidates) - _CANDIDATES} more with less evidence"
    yield from ("", "## What was not checked", "")
    yield from [f"- {text(reason)}" for reason in ranking.not_checked] or ["Every kind of evidence was looked at."]


def _candidate(rank: int, candidate: Candidate) -> Iterator[str]:
    chance = "" if candidate.probability is None else f", {percent(candidate.probability)}"
    way = f" ({text(' → '.join(candidate.path))})" if len(candidate.path) > 1 else ""
    yield f"{rank}. **{text(name_of(candidate))}**{chance}{way}"
    weighed = [e for e in (*candidate.evidence_for, *candidate.evidence_against) if e.score]
    yield from (f"    - {e.score:+.1f} nats, {text(e.kind)}: {text(e.text)}" for e in weighed)
    silent = [e for e in (*candidate.evidence_for, *candidate.evidence_against) if not e.score]
    yield from (f"    - {text(line)}" for line in grouped(silent))
