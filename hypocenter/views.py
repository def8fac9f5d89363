"""What a session shows of traces: one trace, many laid over each other, durations with a region picked out."""

from __future__ import annotations

from dataclasses import dataclass
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

_NAME_CHARACTERS = 200


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

    spans: pa.Table

    def to_frame(self) -> pd.DataFrame:
        """Return a row per span: start_ns, duration_ns, is_error."""
        frame = self.spans.select(["start_ns", "duration_ns", "status"]).to_pandas()
        return frame.assign(is_error=frame.pop("status") == STATUS_ERROR)

    def figure(self) -> go.Figure:
        """Return the heatmap."""
        from .figures import latency_heatmap

        return latency_heatmap(self.to_frame(), title=f"{self.spans.num_rows:,} spans")

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
        start, took = (self.spans[name].to_numpy() for name in ("start_ns", "duration_ns"))
        since_ns = int(start.min(initial=2**62)) if since is None else moment_ns(since)
        until_ns = int(start.max(initial=-(2**62))) + 1 if until is None else moment_ns(until)
        region = Region(since_ns, until_ns, longer_than_s, shorter_than_s)
        inside = (start >= since_ns) & (start < until_ns)
        inside &= (took / 1e9 >= longer_than_s) & (took / 1e9 < shorter_than_s)
        if error is not None:
            inside &= (self.spans["status"].to_numpy() == STATUS_ERROR) == error
        if inside.all() or not inside.any():
            side = "outside" if inside.any() else "inside"
            raise CaseError(f"no span lies {side} the region, so there is nothing to compare; choose another")
        return Contrast(self, region, inside)

    def __repr__(self) -> str:
        return f"<durations of {self.spans.num_rows:,} spans>"


@dataclass(frozen=True, eq=False)
class Contrast(_Shown):
    """A region of a latency heatmap: what its spans have that the others lack."""

    latency: Latency
    region: Region
    inside: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """Return a row per attribute and value, the most different first (`hypocenter.analysis.contrast.contrast`)."""
        from .analysis.contrast import contrast

        return contrast(self.latency.spans, self.inside)

    def figure(self) -> go.Figure:
        """Return the most different attributes as bars, inside beside outside."""
        from .figures import contrast_bars

        return contrast_bars(self.to_frame())

    def heatmap(self) -> go.Figure:
        """Return the heatmap with the region drawn on it."""
        from .figures import latency_heatmap

        return latency_heatmap(self.latency.to_frame(), self.region)

    def __repr__(self) -> str:
        return f"<{int(self.inside.sum()):,} spans inside a region, {int((~self.inside).sum()):,} outside>"
