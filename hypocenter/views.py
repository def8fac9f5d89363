"""What a session shows of traces: one trace, many laid over each other, durations with a region picked out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from .errors import CaseError
from .figures.heatmap import Region
from .moments import moment_ns
from .semconv import STATUS_ERROR

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .moments import Moment
    from .rows import Rows

_NAME_CHARACTERS = 200
_NARROW = ("start_ns", "duration_ns", "status")


class _Shown:
    """A view shows itself as its figure."""

    def figure(self) -> go.Figure:
        """Return what it shows itself as."""
        raise NotImplementedError

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> object:
        return self.figure()._repr_mimebundle_(include, exclude)


@dataclass(frozen=True)
class Trace(_Shown):
    """One trace, a row per span in the order of a waterfall (`hypocenter.graph.one_trace.laid_out`)."""

    spans: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return the spans."""
        return self.spans.copy()

    def figure(self) -> go.Figure:
        """Return the waterfall."""
        from .figures import waterfall

        text = {
            name: self.spans[name].fillna("(no service.name)").str.slice(0, _NAME_CHARACTERS)
            for name in ("service", "operation")
        }
        return waterfall(self.spans.assign(**text))

    def __repr__(self) -> str:
        services = self.spans.service.nunique()
        return f"<trace {max(self.spans.trace_id, key=len)}: {len(self.spans):,} spans of {services} services>"


@dataclass(frozen=True)
class Flame(_Shown):
    """The call trees of many traces laid over each other (`hypocenter.graph.flame.paths`)."""

    paths: pd.DataFrame
    traces: int

    def to_frame(self) -> pd.DataFrame:
        """Return a row per path: its caller's, service, operation, count, total_s, self_s, errors."""
        return self.paths.copy()

    def figure(self) -> go.Figure:
        """Return the icicle: callers above, the width is time, darker the more of it is its own."""
        from .figures import icicle

        return icicle(self.paths, f"{self.traces:,} traces")

    def __repr__(self) -> str:
        return f"<{self.traces:,} traces in {len(self.paths):,} paths>"


@dataclass(frozen=True)
class Latency(_Shown):
    """The durations of spans over time; `select` picks a region and tells what its spans have in common."""

    spans: Rows

    @cached_property
    def _narrow(self) -> pd.DataFrame:
        """What a region and the heatmap need of each span; all else stays in the store."""
        return _narrowed(self.spans.to_arrow(_NARROW))

    def to_frame(self) -> pd.DataFrame:
        """Return a row per span: start_ns, duration_ns, is_error."""
        return self._narrow.copy()

    def figure(self) -> go.Figure:
        """Return the heatmap."""
        from .figures import latency_heatmap

        return latency_heatmap(self._narrow, title=f"{len(self._narrow):,} spans")

    def select(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        longer_than_s: float = 0.0,
        shorter_than_s: float = float("inf"),
        error: bool | None = None,
    ) -> Contrast:
        """Return the spans of a region of the heatmap beside the others; what is left open reaches to the border.

        ``error`` keeps of the region only what failed, or what did not.

        CaseError when nothing lies inside or nothing outside.
        """
        start = self._narrow.start_ns
        since_ns = int(start.min()) if since is None else moment_ns(since)
        until_ns = int(start.max()) + 1 if until is None else moment_ns(until)
        region = Region(since_ns, until_ns, longer_than_s, shorter_than_s)
        chosen = Contrast(self, region, error)
        if chosen.sizes[0] == 0 or chosen.sizes[1] == 0:
            side = "outside" if chosen.sizes[0] else "inside"
            raise CaseError(f"no span lies {side} the region, so there is nothing to compare; choose another")
        return chosen

    def __repr__(self) -> str:
        return f"<durations of {len(self._narrow):,} spans>"


@dataclass(frozen=True, eq=False)
class Contrast(_Shown):
    """A region of a latency heatmap: what its spans have that the others lack.

    ``error`` keeps of the region only what failed, or what did not; None keeps both.
    """

    latency: Latency
    region: Region
    error: bool | None = None

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """How many spans lie inside and outside."""
        inside = self._inside(self.latency.to_frame())
        return int(inside.sum()), int((~inside).sum())

    def to_frame(self) -> pd.DataFrame:
        """Return a row per attribute and value, the most different first (`hypocenter.analysis.contrast.contrast`)."""
        return self._told.copy()

    @cached_property
    def _told(self) -> pd.DataFrame:
        from .analysis.contrast import READ, contrast, counting

        # Attributes are most of a span: they are counted where they are, and only the counts are kept.
        columns = list(dict.fromkeys([*_NARROW, *READ]))
        counted = self.latency.spans.query(counting(self._inside_sql), columns, matching=True)
        return contrast(counted, self.sizes)

    @property
    def _inside_sql(self) -> str:
        """What `_inside` tells, in SQL."""
        region = self.region
        tests = [f"start_ns >= {region.since_ns} AND start_ns < {region.until_ns}"]
        tests += [f"duration_ns / 1e9 >= {region.shortest_s!r}"]
        tests += [] if math.isinf(region.longest_s) else [f"duration_ns / 1e9 < {region.longest_s!r}"]
        failed = f"coalesce(status = {STATUS_ERROR}, false)"
        return " AND ".join([*tests, *([] if self.error is None else [failed if self.error else f"NOT {failed}"])])

    def _inside(self, spans: pd.DataFrame) -> np.ndarray:
        start, took = spans.start_ns.to_numpy(), spans.duration_ns.to_numpy() / 1e9
        inside: np.ndarray = (start >= self.region.since_ns) & (start < self.region.until_ns)
        inside &= (took >= self.region.shortest_s) & (took < self.region.longest_s)
        if self.error is not None:
            inside &= spans.is_error.to_numpy() == self.error
        return inside

    def figure(self) -> go.Figure:
        """Return the most different attributes as bars, inside beside outside."""
        from .figures import contrast_bars

        return contrast_bars(self.to_frame())

    def heatmap(self) -> go.Figure:
        """Return the heatmap with the region drawn on it."""
        from .figures import latency_heatmap

        return latency_heatmap(self.latency.to_frame(), self.region)

    def __repr__(self) -> str:
        return f"<{self.sizes[0]:,} spans inside a region, {self.sizes[1]:,} outside>"


def _narrowed(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas()
    return frame.assign(is_error=frame.pop("status") == STATUS_ERROR)
