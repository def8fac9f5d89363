"""The built-in ranking methods, registered explicitly: one line each."""

from .baselines.max_z import MaxZ
from .baselines.n_sigma import NSigma
from .baselines.random import Random
from .baselines.robust import Robust
from .baselines.traversal import Traversal
from .hypocenter import Hypocenter
from .ranker import register

register("hypocenter", Hypocenter)
register("random", Random)
register("max-z", MaxZ)
register("n-sigma", NSigma)
register("robust", Robust)
register("traversal", Traversal)
