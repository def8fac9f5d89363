"""Requests to an OTLP/HTTP endpoint, one after the other, repeated as the protocol asks."""

from __future__ import annotations

import email.utils
import gzip
import http.client
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from hypocenter.errors import DeliveryError

from .decode import PROTOBUF

# OTLP/HTTP: what the receiver asks to send again.
_RETRYABLE = frozenset({429, 502, 503, 504})
_ATTEMPTS = 6
_TIMEOUT_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_ANSWER_BYTES = 64 << 10


def traces_url(endpoint: str) -> str:
    """Return the address of traces at a base address, which may name it already; ValueError if it is not HTTP.

    >>> traces_url("http://localhost:4318")
    'http://localhost:4318/v1/traces'
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected an address such as http://localhost:4318, got {endpoint!r}")
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith("/v1/traces") else f"{path}/v1/traces"))


@dataclass
class TracePoster:
    """Sends trace requests to ``url``; ``rejected`` counts the spans that the receiver took and did not keep.

    ``wait`` is called with the seconds to let pass before a request is repeated.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: Callable[[float], None] = time.sleep
    rejected: int = 0
    reason: str = ""

    def post(self, request: bytes) -> None:
        """Send one protobuf request, compressed, and return when it is acknowledged.

        On 429, 502, 503 and 504, and when the connection fails, it is sent again: after the time that ``Retry-After``
        names, else after one that doubles, at most 6 times in all.

        Raises
        ------
        DeliveryError
            The receiver refused it, or did not take it in 6 attempts.
        """
        body = gzip.compress(request, compresslevel=1)
        problem = ""
        for attempt in range(_ATTEMPTS):
            backoff_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt) * random.uniform(0.5, 1)
            try:
                answer = self._send(body)
            except urllib.error.HTTPError as error:
                with error:
                    said = error.read(_ANSWER_BYTES)[:200].decode("utf-8", "replace").strip()
                problem = f"{error.code} {error.reason}{f': {said}' if said.isprintable() and said else ''}"
                if error.code not in _RETRYABLE:
                    raise DeliveryError(f"{self.url}: refused: {problem}") from None
                delay_s = _seconds(error.headers.get("Retry-After"), backoff_s)
            except (OSError, http.client.HTTPException) as error:  # refused, reset, timed out, not resolved, not HTTP
                problem, delay_s = str(getattr(error, "reason", error)), backoff_s
            else:
                self._count_rejected(answer)
                return
            if attempt + 1 < _ATTEMPTS:
                self.wait(delay_s)
        raise DeliveryError(f"{self.url}: not taken in {_ATTEMPTS} attempts; the last: {problem}")

    def _send(self, body: bytes) -> bytes:
        own = {"Content-Type": PROTOBUF, "Content-Encoding": "gzip", "User-Agent": "hypocenter"}
        message = urllib.request.Request(self.url, body, {**self.headers, **own}, method="POST")
        with _opener.open(message, timeout=_TIMEOUT_S) as response:
            answer: bytes = response.read(_ANSWER_BYTES)
        return answer

    def _count_rejected(self, answer: bytes) -> None:
        try:
            partial = ExportTraceServiceResponse.FromString(answer).partial_success
        except DecodeError:  # a receiver that answers in another way took it all the same
            return
        self.rejected += partial.rejected_spans
        self.reason = partial.error_message or self.reason


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET, without its body."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def _seconds(retry_after: str | None, otherwise_s: float) -> float:
    """Return what ``Retry-After`` asks for, seconds or a date, at most a minute."""
    if retry_after is None:
        return otherwise_s
    text = retry_after.strip()
    if text.isdigit():
        return min(_LONGEST_WAIT_S, float(text))
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return otherwise_s
    return min(_LONGEST_WAIT_S, max(0.0, until.timestamp() - time.time()))
