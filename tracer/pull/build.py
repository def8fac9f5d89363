"""From configuration to what pulls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..batch import Batch
from ..window import Window
from .settings import KEYS, Settings

if TYPE_CHECKING:
    from ..collect.source import Source
    from ..store import Store

Fetch = Callable[..., Iterator[Batch]]
_OPTIONS: Final = {"services": "services", "query": "query", "limit": "limit", "exemplars": "exemplars"}


def sources(config: Mapping[str, Any]) -> list[Source]:
    """Return a source for each server in the sections ``prometheus``, ``jaeger``, ``tempo``, ``zipkin``,
    ``alertmanager``.

    Parameters
    ----------
    config
        Each section is an address, a mapping (`settings.Settings`) or a list of these. ``store``, a path, is where the
        rows end: what it holds is not stored again after a restart. A section ``zipkin`` without a ``url`` is none of
        ours: it describes a door.

    Raises
    ------
    SourceError
        A key is unknown or a value not of its form.
    """
    from .polling import AlertSource, PullSource

    store = _store_of(config.get("store"))
    found: list[Source] = []
    for kind in KEYS:
        for settings in _settings(kind, config.get(kind)):
            name = _unique(settings.name, {one.name for one in found})
            if kind == "alertmanager":
                found.append(
                    AlertSource(name, settings.url, settings.access, interval_s=settings.interval_s, store=store)
                )
                continue
            fetch, base = fetcher(settings)
            found.append(
                PullSource(
                    name,
                    base,
                    fetch,
                    interval_s=settings.interval_s,
                    overlap_ns=settings.overlap_ns,
                    since_ns=settings.since_ns,
                    # A step that is not over may still change.
                    settle_ns=settings.more.get("step", 0),
                    store=store,
                )
            )
    return found


def fetcher(settings: Settings) -> tuple[Fetch, str]:
    """Return a function that fetches a window, and the source of its rows: the address without credentials.

    The function also takes ``on_progress``.
    """
    from . import alertmanager, jaeger, prometheus, tempo, zipkin
    from .server import Server

    module: Any = {
        "alertmanager": alertmanager,
        "jaeger": jaeger,
        "prometheus": prometheus,
        "tempo": tempo,
        "zipkin": zipkin,
    }[settings.kind]
    options = {_OPTIONS[key]: value for key, value in settings.more.items() if key in _OPTIONS}
    if settings.kind == "prometheus":
        options["queries"] = [*settings.more.get("match", ()), *settings.more.get("queries", ())]
        options["step_ns"] = settings.more.get("step")
    base = Server(settings.url, settings.access, settings.kind.capitalize()).base

    def fetch(window: Window, **told: Any) -> Iterator[Batch]:
        found: Iterator[Batch] = module.fetch(settings.url, window, access=settings.access, **options, **told)
        return found

    return fetch, base


def _settings(kind: str, section: Any) -> list[Settings]:
    listed = section if isinstance(section, list) else [] if section is None else [section]
    if kind == "zipkin":
        listed = [one for one in listed if isinstance(one, Mapping) and "url" in one]
    return [Settings.of(kind, one) for one in listed]


def _store_of(path: str | Path | None) -> Callable[[], Store] | None:
    if path is None:
        return None

    def opened(path: str | Path) -> Store:
        from ..store.remote import store_at

        return store_at(path, create=True)

    return partial(opened, path)


def _unique(name: str, taken: set[str]) -> str:
    return name if name not in taken else next(n for i in range(2, 1000) if (n := f"{name}-{i}") not in taken)
