"""What the hook is told: one YAML file, checked whole at start; secrets come from files or the environment only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from hypocenter.errors import SourceError

from ..report.links import checked
from .credentials import Auth, Basic, Secret, Strict, Tls

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_s(value: Any) -> float:
    """Return seconds from a number or a text such as ``2s``, ``1m30s``; anything else is a ValueError.

    >>> duration_s("1m30s"), duration_s(2)
    (90.0, 2.0)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    parts = _DURATION.findall(value) if isinstance(value, str) else []
    if not parts or "".join(n + u for n, u in parts) != value:
        raise ValueError(f"expected seconds or a duration such as 2s or 1m30s, got {value!r}")
    return sum(float(n) * _UNIT_S[u] for n, u in parts)


def _host_and_port(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError("expected HOST:PORT such as 127.0.0.1:9095, the port at most 65535")
    return host.strip("[]") or "127.0.0.1", int(port)


def _listens(value: str) -> str:
    _host_and_port(value)
    return value


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        # Never the value itself, nor what urllib says of it: webhook addresses are secrets.
        raise ValueError("expected an address such as https://host/path")
    return value


Seconds = Annotated[float, BeforeValidator(duration_s)]
Url = Annotated[str, AfterValidator(_http_url)]


class Limits(Strict):
    """Bounds: of a request's body in bytes, of undelivered notifications, of a worker's memory in bytes."""

    body_bytes: int = Field(default=8 << 20, gt=0)
    queue: int = Field(default=10_000, gt=0)
    worker_bytes: int = Field(default=2 << 30, ge=256 << 20)
    workers: int = Field(default=1, ge=1, le=16)


class Retry(Strict):
    """Back-off between two attempts doubles from ``first`` to ``longest``; after ``give_up`` it is a dead letter."""

    first: Seconds = 0.5
    longest: Seconds = 60.0
    timeout: Seconds = 10.0
    give_up: Seconds = 86_400.0


class MapRule(Strict):
    """A label of your own and what it names."""

    label: str
    names: Literal["service", "pod", "node"]


class SinkConfig(Strict):
    """A receiver. ``url`` may come from a secret (``url_from``), since webhook addresses often are one."""

    kind: Literal["webhook", "slack", "pagerduty", "alertmanager", "template"]
    name: str | None = None
    url: Url | None = None
    url_from: Secret | None = None
    path: Path | None = None  # of a template sink: a file, or - for standard output
    template: str | None = None
    template_file: Path | None = None
    content_type: str = "application/json"
    headers: dict[str, Secret] = Field(default_factory=dict)
    bearer: Secret | None = None
    basic: Basic | None = None
    hmac: Secret | None = None
    routing_key: Secret | None = None
    follow_up: bool = True

    @model_validator(mode="after")
    def _complete(self) -> SinkConfig:
        goals = [goal for goal in (self.url, self.url_from, self.path) if goal is not None]
        if self.kind == "pagerduty":
            if self.routing_key is None:
                raise ValueError("a pagerduty sink needs routing_key")
        elif len(goals) != 1:
            raise ValueError("a sink needs one of url, url_from and (template only) path")
        if self.path is not None and self.kind != "template":
            raise ValueError("path belongs to a sink of kind template")
        if self.template is not None and self.template_file is not None:
            raise ValueError("template and template_file exclude each other")
        if self.bearer is not None and self.basic is not None:
            raise ValueError("bearer and basic exclude each other: a request has one Authorization")
        return self

    @property
    def address(self) -> str:
        """The URL; of PagerDuty the public one unless another is given."""
        if self.url_from is not None:
            key = self.key("url_from")
            try:
                return _http_url(self.url_from.read(key))
            except ValueError as error:
                raise SourceError(f"{key}: the secret is no address: {error}") from None
        return self.url or "https://events.pagerduty.com/v2/enqueue"

    @property
    def label(self) -> str:
        """The sink's name in logs, metrics and the journal."""
        return self.name or self.kind

    def key(self, name: str) -> str:
        """Return how messages name a key of this sink."""
        return f"sink {self.label}: {name}"


def _server(section: str | dict[str, Any], info: ValidationInfo) -> str | dict[str, Any]:
    from ..tracer.pull.settings import Settings

    try:
        Settings.of(str(info.field_name), section)
    except SourceError as error:
        raise ValueError(str(error)) from error
    return section


# An address, or a mapping with `url` and the keys of the collector's configuration (docs/howto/pull.md).
Server = Annotated[str | dict[str, Any], AfterValidator(_server)]


class Cluster(Strict):
    """The API server: by default the pod's own, else that of the default kubeconfig."""

    kubeconfig: str | None = None
    context: str | None = None
    namespaces: list[str] | None = None
    kinds: list[str] | None = None


class Config(Strict):
    """The hook's configuration; docs/howto/alerts.md describes every key."""

    listen: Annotated[str, AfterValidator(_listens)] = "127.0.0.1:9095"
    state: Path = Path("hypocenter-hook")
    store: str | None = None  # a folder, or s3://bucket/prefix
    prometheus: Server | None = None
    jaeger: Server | None = None
    tempo: Server | None = None
    kubernetes: Cluster | None = None
    public_url: Url | None = None
    deadline: Seconds = 2.0
    ranking_timeout: Seconds = 60.0
    duplicate_window: Seconds = 60.0
    auth: Auth = Auth()
    tls: Tls | None = None
    limits: Limits = Limits()
    retry: Retry = Retry()
    mapping: tuple[MapRule, ...] = ()
    sinks: tuple[SinkConfig, ...] = ()
    allow_hosts: tuple[str, ...] = ()  # where given, no other host may be named
    links: dict[str, str] = Field(default_factory=dict)  # from reports into Jaeger, Grafana, ...: name and URL template
    otlp: Url | None = None  # where traces of the hook's own work go

    @model_validator(mode="after")
    def _sound(self) -> Config:
        checked(self.links)
        if not self.sinks:
            raise ValueError("sinks: at least one receiver is needed, else alerts end here")
        labels = [sink.label for sink in self.sinks]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"sinks: give each a name of its own; twice: {', '.join(twice)}")
        return self

    @property
    def sources(self) -> dict[str, Any]:
        """What a worker is told of where telemetry is (`hypocenter.hook.telemetry.case_at`); empty: nowhere."""
        found: dict[str, Any] = {kind: getattr(self, kind) for kind in ("prometheus", "jaeger", "tempo")}
        found["store"] = self.store
        found["kubernetes"] = self.kubernetes and self.kubernetes.model_dump(exclude_none=True)
        return {kind: section for kind, section in found.items() if section is not None}

    @property
    def urls(self) -> list[str]:
        """The addresses of servers that are asked and told, beside the sinks."""
        sections = [self.prometheus, self.jaeger, self.tempo, self.otlp]
        return [section if isinstance(section, str) else section["url"] for section in sections if section is not None]

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Where to listen."""
        return _host_and_port(self.listen)


def build_config(content: Any, place: str) -> Config:
    """Return the configuration in a mapping; SourceError names each wrong key."""
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'top'}: {e['msg']}" for e in error.errors())
        raise SourceError(f"{place}: {said}") from error
