"""How the failure may have spread: the ways from possible origins to where it hurts, as a figure of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answer import percent, split_ns, symptom_of
from .drawing import Drawing
from .traffic import bounds, change

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..analysis.ranking import Ranking


def spread(ranking: Ranking, case: Case) -> Drawing | None:
    """Return the ways of the candidates, as broad as they are likely; None where no call is known."""
    from ..analysis.propagation import ways
    from ..figures import propagation_sankey

    found = ways(ranking.candidates)
    if found.empty or bounds(case) is None:
        return None
    split = split_ns(ranking, case)
    pairs = zip(found.source, found.target, strict=True)
    found = found.assign(text=[change(case, callee, split, caller) or "" for callee, caller in pairs])
    symptom = symptom_of(ranking.candidates[0], case)
    caption = f"From possible origins along their callers to {symptom}: the broader, the likelier."
    rows = tuple((str(w.source), str(w.target), percent(min(w.weight, 1.0)), str(w.text)) for w in found.itertuples())
    columns = ("from", "to its caller", "chance", "the calls between, before and since")
    label = f"Sankey diagram of how the failure may have spread, {len(rows)} steps. {caption}"
    return Drawing("spread", label, caption, propagation_sankey(found, symptom), columns, rows)
