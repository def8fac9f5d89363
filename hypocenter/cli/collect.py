"""``hypocenter collect``: live telemetry into a store, until it is told to stop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .places import HELP

if TYPE_CHECKING:
    from ..graph.live import LiveMetrics
    from ..tracer.collect.config import Settings
    from ..tracer.collect.source import Source
    from ..tracer.collect.upkeep import Upkeep
    from ..tracer.store import Store

_OFF = "off"


def collect(
    config: Annotated[
        Path | None, typer.Option(help="YAML settings, see docs/howto/collect.md; flags go over it.", dir_okay=False)
    ] = None,
    store: Annotated[str | None, typer.Option(help=f"{HELP} Made when it is absent.")] = None,
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
    kubernetes: Annotated[
        bool,
        typer.Option("--kubernetes", help="Watch the objects of the cluster that this runs in, or of --kubeconfig."),
    ] = False,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="The cluster to watch; says --kubernetes as well.", dir_okay=False)
    ] = None,
) -> None:
    """Take OTLP and Zipkin, watch and pull what is configured, and store it durably, until SIGTERM or Ctrl-C.

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
    _put(given, "store", store)
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
    if kubernetes or kubeconfig is not None:
        given["kubernetes"] = {} if kubeconfig is None else {"kubeconfig": str(kubeconfig)}
    settings = read_settings(config, given)
    Collector(settings, _sources(settings), refresh=Derived.of(settings.upkeep)).run(_tell)
    typer.echo("collect: drained", err=True)


@dataclass
class Derived:
    """What the upkeep process keeps fresh beside the store: rollups of past hours, and live metrics of spans."""

    rollups: bool
    span_metrics: bool
    _live: LiveMetrics | None = None

    @classmethod
    def of(cls, settings: Upkeep) -> Derived | None:
        """Return what the settings ask for, None for nothing."""
        wanted = settings.rollups or settings.span_metrics
        return cls(settings.rollups, settings.span_metrics) if wanted else None

    def __call__(self, store: Store) -> str | None:
        """Bring it up to date; return the live metrics as OpenMetrics."""
        if self.rollups:
            from ..graph.cache import refresh

            refresh(store)
        if not self.span_metrics:
            return None
        if self._live is None:
            from ..graph.live import LiveMetrics

            self._live = LiveMetrics()
        self._live.update(store)
        return self._live.text()


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
