"""The settings of a collector, from its YAML file: every key is known, every value has the right type."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from hypocenter.errors import ConfigError

from ..yaml_file import read_yaml
from .intake import Bounds
from .security import Tls
from .upkeep import Upkeep

# Sections that sources read themselves: `hypocenter.tracer.pull.sources`, `hypocenter.tracer.kubernetes.source`.
PULLED = ("prometheus", "jaeger", "tempo", "alertmanager", "kubernetes")


@dataclass(frozen=True, slots=True)
class Doors:
    """Where OTLP listens, HOST:PORT; None is not at all."""

    grpc: str | None = "127.0.0.1:4317"
    http: str | None = "127.0.0.1:4318"


@dataclass(frozen=True, slots=True)
class Zipkin:
    """Where Zipkin's own port listens; ``/api/v2/spans`` is served at OTLP's HTTP door in any case."""

    listen: str | None = None


@dataclass(frozen=True, slots=True)
class Security:
    """TLS of the doors, and a file of bearer tokens that they ask for."""

    tls: Tls | None = None
    tokens_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one request and its connection."""

    request_bytes: int = 64 << 20
    body_timeout_s: float = 30.0
    header_timeout_s: float = 10.0
    connections: int = 1024


@dataclass(frozen=True, slots=True)
class Hidden:
    """What is not stored (`hypocenter.tracer.privacy.Privacy`); the key of the hashes is the content of a file."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()
    masks: bool = True
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; ``store`` is a folder or ``s3://bucket/prefix``, ``pulled`` what sources read themselves."""

    store: str
    otlp: Doors = field(default_factory=Doors)
    zipkin: Zipkin = field(default_factory=Zipkin)
    admin: str | None = "127.0.0.1:4319"
    security: Security = field(default_factory=Security)
    limits: Limits = field(default_factory=Limits)
    bounds: Bounds = field(default_factory=Bounds)
    privacy: Hidden = field(default_factory=Hidden)
    upkeep: Upkeep = field(default_factory=Upkeep)
    pulled: Mapping[str, Any] = field(default_factory=dict)


def read_settings(path: Path | None, given: Mapping[str, Any]) -> Settings:
    """Return the settings of a YAML file, those in ``given`` (nested as in the file) put over it.

    Raises ConfigError, naming the key, for one that is unknown, missing or of the wrong type.
    """
    content: Any = {}
    if path is not None:
        content = read_yaml(path) or {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, got {type(content).__name__}")
    merged = _merged(content, given)
    pulled = {name: merged.pop(name) for name in PULLED if name in merged}
    zipkin = merged.get("zipkin")
    if isinstance(zipkin, dict) and "url" in zipkin:  # a server to pull from, and perhaps a door as well
        merged["zipkin"] = {key: zipkin[key] for key in ("listen",) if key in zipkin}
        pulled["zipkin"] = {key: value for key, value in zipkin.items() if key != "listen"}
    settings: Settings = _read(Settings, merged | {"pulled": pulled}, "")
    return settings


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _read(kind: Any, value: Any, place: str) -> Any:
    if kind is Any:
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        inner = next(one for one in arguments if one is not types.NoneType)
        return None if value is None else _read(inner, value, place)
    if is_dataclass(kind):
        return _read_section(kind, {} if value is None else value, place)
    if origin is tuple:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list):
            raise ConfigError(f"{place.rstrip('.')}: expected a list, got {value!r}")
        return tuple(_read(arguments[0], one, place) for one in values)
    if origin is not None:
        return value
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{place.rstrip('.')}: expected {kind.__name__}, got {value!r}")
    return value


def _read_section(kind: Any, content: Any, place: str) -> Any:
    if not isinstance(content, dict):
        raise ConfigError(f"{place.rstrip('.')}: expected a section, got {content!r}")
    kinds = typing.get_type_hints(kind)
    known = [one.name for one in fields(kind)]
    for key in content:
        if key not in known:
            raise ConfigError(f"{place}{key}: not a setting; known here: {', '.join(known)}")
    try:
        return kind(**{key: _read(kinds[key], value, f"{place}{key}.") for key, value in content.items()})
    except TypeError as error:
        missing = str(error).rpartition(": ")[2]
        raise ConfigError(f"{place.rstrip('.') or 'the settings'}: missing {missing}") from error
