"""``hypocenter collect``: live telemetry into a store, until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..tracer.collect.config import Settings
    from ..tracer.collect.source import Source
    from ..tracer.store import Store

_OFF = "off"


def collect(
    config: Annotated[
        Path | None, typer.Option(help="YAML settings, see docs/howto/collect.md; flags go over it.", dir_okay=False)
    ] = None,
    store: Annotated[Path | None, typer.Option(help="The store's folder; made when it is absent.")] = None,
    otlp_grpc: Annotated[
        str | None, typer.Option(help="HOST:PORT for OTLP/gRPC, or off.", show_default="127.0.0.1:4317")
    ] = None,
    otlp_http: Annotated[
        str | None, typer.Option(help="HOST:PORT for OTLP/HTTP, or off.", show_default="127.0.0.1:4318")
    ] = None,
    zipkin: Annotated[str | None, typer.Option(help="HOST:PORT for Zipkin's own port.")] = None,
    admin: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of /healthz, /readyz and /metrics, or off.", show_default="127.0.0.1:4319"),
    ] = None,
    prometheus: Annotated[
        list[str] | None, typer.Option(help="URL of a Prometheus to pull from; repeat for more.")
    ] = None,
    jaeger: Annotated[str | None, typer.Option(help="URL of a Jaeger to pull traces from.")] = None,
    tempo: Annotated[str | None, typer.Option(help="URL of a Tempo to pull traces from.")] = None,
    alertmanager: Annotated[str | None, typer.Option(help="URL of an Alertmanager to pull alerts from.")] = None,
) -> None:
    """Take OTLP and Zipkin, pull what is configured, and store it durably, until SIGTERM or Ctrl-C.

    Says the address of each door on standard error once it serves. Port 0 takes a free one. Several collectors may
    share a store.
    """
    import logging

    from ..tracer.collect.config import read_settings
    from ..tracer.collect.service import Collector

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("uvicorn", "apscheduler"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    given: dict[str, Any] = {}
    _put(given, "store", None if store is None else str(store))
    _put(given, "admin", admin)
    _put(given.setdefault("otlp", {}), "grpc", otlp_grpc)
    _put(given["otlp"], "http", otlp_http)
    if zipkin is not None:
        given["zipkin"] = {"listen": zipkin}
    for name, url in (("prometheus", prometheus or None), ("jaeger", jaeger), ("tempo", tempo)):
        if url is not None:
            given[name] = url
    if alertmanager is not None:
        given["alertmanager"] = alertmanager
    settings = read_settings(config, given)
    Collector(settings, _sources(settings), refresh=refresh_rollups).run(_tell)
    typer.echo("collect: drained", err=True)


def refresh_rollups(store: Store) -> None:
    """Roll up the hours that ended lately, so that a ranking reads them."""
    from ..graph.cache import rollups
    from ..tracer.window import HOUR_NS, Window

    bounds = store.bounds("spans")
    if bounds is not None:
        rollups(store, Window(bounds.end_ns - 2 * HOUR_NS, bounds.end_ns // HOUR_NS * HOUR_NS))


def _sources(settings: Settings) -> list[Source]:
    from ..tracer import kubernetes, pull

    found = pull.sources({**settings.pulled, "store": settings.store})
    if "kubernetes" in settings.pulled:
        found.append(kubernetes.source(settings.pulled["kubernetes"] or {}))
    return found


def _put(section: dict[str, Any], name: str, value: str | None) -> None:
    if value is not None:
        section[name] = None if value == _OFF else value


def _tell(ports: dict[str, int]) -> None:
    for door, port in ports.items():
        typer.echo(f"collect: {door} on port {port}", err=True)
    typer.echo("collect: ready", err=True)
