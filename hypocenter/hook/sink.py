"""One receiver: what is sent to it, and how a request to it is signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from .config import SinkConfig
from .payload import Notification
from .text import Enrichment


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request: its body and what describes it; signing comes last (`Sink.headers`)."""

    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Sink:
    """Base of receivers that are reached by POST; secrets are read once, at start."""

    def __init__(self, config: SinkConfig) -> None:
        self.config = config
        self.name = config.label
        self.url: str | None = None if config.path is not None else config.address
        key = config.key
        self._fixed = {name: secret.read(key(f"headers.{name}")) for name, secret in config.headers.items()}
        if config.bearer is not None:
            self._fixed["Authorization"] = f"Bearer {config.bearer.read(key('bearer'))}"
        if config.basic is not None:
            pair = f"{config.basic.user}:{config.basic.password.read(key('basic.password'))}"
            self._fixed["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._hmac = config.hmac.read(key("hmac")).encode() if config.hmac is not None else None

    def render(self, note: Notification, added: Enrichment | None) -> Outgoing | None:
        """Return what to send, None when this receiver has no use for it."""
        raise NotImplementedError

    def headers(self, outgoing: Outgoing, key: str) -> dict[str, str]:
        """Return a request's headers: content, idempotency key, secrets, and with ``hmac`` the time and a signature.

        The signature is the HMAC-SHA256, in hex, of the time, a dot and the body.
        """
        found = {"Content-Type": outgoing.content_type, "Idempotency-Key": key, "User-Agent": "hypocenter-hook"}
        found |= dict(outgoing.headers) | self._fixed
        if self._hmac is not None:
            now = str(int(time.time()))
            digest = hmac.new(self._hmac, f"{now}.".encode() + outgoing.body, hashlib.sha256).hexdigest()
            found |= {"X-Hypocenter-Time": now, "X-Hypocenter-Signature": f"sha256={digest}"}
        return found


def to_json(value: Any) -> bytes:
    """Return JSON; numbers of any size and lone surrogates come as they came."""
    try:
        return orjson.dumps(value)
    except TypeError:
        import json

        return json.dumps(value).encode()
