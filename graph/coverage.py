"""Coverage: how much of what came in the graph explains, and what it does not, by reason and service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa

# Reasons that are no fault: such a span is explained although it makes no call (docs/linking.md).
EXPLAINED = ("in-process", "duplicate", "messaging-create", "messaging-receive", "messaging-settle")


@dataclass(frozen=True, slots=True)
class Coverage:
    """Spans of a window: each one either a side of a call, or counted in ``unlinked`` (service, reason, spans).

    ``by_service`` has a row per service: ``service``, ``spans``, ``linked``, then one column per reason.
    """

    spans: int
    unlinked: Mapping[str, int]
    by_service: pd.DataFrame

    @classmethod
    def of(cls, linked: pa.Table, unlinked: pa.Table) -> Coverage:
        """Return the coverage of tables (service, count) of spans in calls and (service, reason, count) of others."""
        sides = linked.group_by("service").aggregate([("count", "sum")]).to_pandas()
        sides = sides[sides["count_sum"] > 0]
        linked_of = dict(zip(sides["service"].fillna(""), sides["count_sum"], strict=True))
        lost = unlinked.group_by(["service", "reason"]).aggregate([("count", "sum")]).to_pandas()
        reasons = sorted(set(lost["reason"]))
        services = sorted({*linked_of, *lost["service"].fillna("")})
        table = pd.DataFrame({"service": services, "linked": [int(linked_of.get(s, 0)) for s in services]})
        for reason in reasons:
            rows = lost[lost["reason"] == reason]
            of = dict(zip(rows["service"].fillna(""), rows["count_sum"], strict=True))
            table[reason] = [int(of.get(service, 0)) for service in services]
        table.insert(1, "spans", table[["linked", *reasons]].sum(axis=1).astype("int64"))
        totals = {reason: int(table[reason].sum()) for reason in reasons}
        return cls(int(table["spans"].sum()), MappingProxyType(totals), table)

    @property
    def linked(self) -> int:
        """Spans that are a side of a call."""
        return self.spans - sum(self.unlinked.values())

    @property
    def explained_ratio(self) -> float | None:
        """Share of spans that are a side of a call or need not be one; None without spans."""
        lost = sum(count for reason, count in self.unlinked.items() if reason not in EXPLAINED)
        return 1 - lost / self.spans if self.spans else None

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"spans", "linked", "unlinked": {reason: n}, "explained_ratio", "by_service": {...}}``."""
        rows = self.by_service.set_index("service")
        return {
            "spans": self.spans,
            "linked": self.linked,
            "unlinked": dict(self.unlinked),
            "explained_ratio": self.explained_ratio,
            "by_service": {
                str(service): {str(column): int(value) for column, value in row.items()}
                for service, row in rows.iterrows()
            },
        }

    def __str__(self) -> str:
        if not self.spans:
            return "no spans"
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.unlinked.items() if count)
        rest = f"; {reasons}" if reasons else ""
        return f"{self.spans:,} spans, {self.linked:,} in calls ({self.explained_ratio:.1%} explained){rest}"
