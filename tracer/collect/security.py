"""Who may send: TLS, client certificates and bearer tokens."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass, field
from pathlib import Path

from hypocenter.errors import SourceError

_LOOK_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files; with ``client_ca`` a client must show a certificate that this authority signed."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(slots=True)
class Tokens:
    """Bearer tokens, one a line of a file; a changed file counts within seconds, so that tokens can be rotated."""

    path: Path
    _tokens: list[bytes] = field(default_factory=list, repr=False)
    _stamp: tuple[int, int] | None = None
    _looked_at: float = float("-inf")

    def __post_init__(self) -> None:
        self._reload()
        if not self._tokens:
            raise SourceError(f"{self.path}: expected a bearer token a line, found none")

    def admit(self, authorization: str) -> bool:
        """Tell whether the value of an ``authorization`` header names one of the tokens."""
        if time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._reload()
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        # Every token is compared, and in constant time.
        matching = [hmac.compare_digest(given, known) for known in self._tokens]
        return scheme.lower() == "bearer" and any(matching)

    def _reload(self) -> None:
        self._looked_at = time.monotonic()
        try:
            status = self.path.stat()
            if self._stamp != (status.st_mtime_ns, status.st_size):
                self._tokens = [line.strip() for line in self.path.read_bytes().splitlines() if line.strip()]
                self._stamp = (status.st_mtime_ns, status.st_size)
        except OSError as error:
            if self._stamp is None:
                raise SourceError(f"{self.path}: {error.strerror}; name a file of bearer tokens") from error
