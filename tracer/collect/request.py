"""What a door hands to the committer, and what it hears back."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypocenter.errors import HypocenterError

ZIPKIN = "zipkin"


@dataclass(frozen=True, slots=True)
class Request:
    """The decompressed bytes of one request; ``kind`` is traces, metrics, logs or zipkin."""

    kind: str
    content_type: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request's rows are durable, but for the rejected items, which must not be sent again."""

    rejected: int = 0
    message: str = ""


class Refused(HypocenterError):
    """The request can never be taken: sending it again is of no use."""


@dataclass(slots=True)
class Work:
    """What one commit did, for the metrics: rows stored by signal, items by reason, seconds by step."""

    stored: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    lag_s: float | None = None
