"""The kinds of fault: each module here that defines `Fault` subclasses adds them to `KINDS` by their ``name``."""

from __future__ import annotations

import importlib
import pkgutil

from .fault import Fault


def _kinds() -> dict[str, type[Fault]]:
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{module}")
    found: dict[str, type[Fault]] = {}
    pending = list(Fault.__subclasses__())
    while pending:
        kind = pending.pop(0)
        pending += kind.__subclasses__()
        if kind.__dict__.get("name"):
            if kind.name in found:
                raise ValueError(f"two kinds of fault are named {kind.name!r}")
            found[kind.name] = kind
    return dict(sorted(found.items()))


KINDS = _kinds()

__all__ = ["KINDS", "Fault"]
