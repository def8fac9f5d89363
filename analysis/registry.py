"""The built-in ranking methods, registered explicitly: one line each."""

from importlib.util import find_spec

from .baselines.baro import Baro
from .baselines.circa import Circa
from .baselines.correlation_traversal import CorrelationTraversal
from .baselines.counterfactual import Counterfactual
from .baselines.max_z import MaxZ
from .baselines.micro_rank import MicroRank
from .baselines.monitor_rank import MonitorRank
from .baselines.n_sigma import NSigma
from .baselines.prism import Prism
from .baselines.random import Random
from .baselines.robust import Robust
from .baselines.simple_rca import SimpleRca
from .baselines.trace_rca import TraceRca
from .baselines.traversal import Traversal
from .hypocenter import Hypocenter
from .ranker import register

register("hypocenter", Hypocenter)
register("random", Random)
register("max-z", MaxZ)
register("n-sigma", NSigma)
register("robust", Robust)
register("traversal", Traversal)
register("correlation-traversal", CorrelationTraversal)
register("monitor-rank", MonitorRank)
register("circa", Circa)
register("baro", Baro)
register("prism", Prism)
register("simple-rca", SimpleRca)
register("micro-rank", MicroRank)
register("trace-rca", TraceRca)
if find_spec("dowhy"):  # the extra `counterfactual`
    register("counterfactual", Counterfactual)
