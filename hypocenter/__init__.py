"""hypocenter: from traces and metrics to where a failure began.

>>> import hypocenter as hc
>>> incident = hc.open("store").rank(at="2026-11-24T14:03:00Z")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation import Evaluation, evaluate
    from .incident import RankedIncident
    from .session import Session, ingest, open
    from .tracer.window import Window

__version__ = "0.1.0"
__all__ = ["Evaluation", "RankedIncident", "Session", "Window", "__version__", "evaluate", "ingest", "open"]

# Looked up on first use, so that `import hypocenter` loads nothing heavy.
_HOME = {
    "Evaluation": "evaluation",
    "RankedIncident": "incident",
    "Session": "session",
    "Window": "tracer.window",
    "evaluate": "evaluation",
    "ingest": "session",
    "open": "session",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
