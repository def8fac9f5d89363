"""Tables as pictures: one file a figure, one look, nothing computed that a table does not hold."""

from .evidence import evidence_bars
from .graph_diff import diff_map
from .heatmap import Region, contrast_bars, latency_heatmap
from .icicle import icicle
from .leaderboard import leaderboard
from .look import restyle
from .reliability import reliability_diagram
from .sankey import propagation_sankey
from .service_map import service_map
from .states import state_timeline
from .timeline import Panel, timeline
from .waterfall import waterfall

__all__ = [
    "Panel",
    "Region",
    "contrast_bars",
    "diff_map",
    "evidence_bars",
    "icicle",
    "latency_heatmap",
    "leaderboard",
    "propagation_sankey",
    "reliability_diagram",
    "restyle",
    "service_map",
    "state_timeline",
    "timeline",
    "waterfall",
]
