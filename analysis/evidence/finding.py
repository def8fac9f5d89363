"""What every kind of evidence returns: scores by service, or why it could not look."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True, slots=True)
class Finding:
    """``score`` in nats by service, above 0 incriminates; ``not_checked`` is None when it looked."""

    kind: str
    score: dict[str, float] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    entity: dict[str, tuple[str, str]] = field(default_factory=dict)  # service -> (entity, its kind)
    not_checked: str | None = None


@dataclass(frozen=True, slots=True)
class Windows:
    """Visits: ``quiet`` of the baseline recording, ``before`` and ``after`` the alert of the incident's."""

    quiet: pd.DataFrame
    before: pd.DataFrame
    after: pd.DataFrame
