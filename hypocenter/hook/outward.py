"""The way out: one attempt to hand a request to a receiver, to hosts that are allowed, and how it ended."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx

from hypocenter.errors import SourceError

from ..legible import visible
from .config import Config
from .sink import Outgoing, Sink

# Groups are spread over lanes of each receiver: one is kept in order, and a slow answer holds up only its own lane.
LANES = 32
# Of a refusal's answer as much is told; of any answer as much is read.
_ANSWER_CHARACTERS = 200
_ANSWER_BYTES = 64 << 10
_MOST_RETRY_AFTER_S = 300.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """How it ended: ``retry`` for 5xx, 429, time-outs and refused connections; ``after_s`` is what was asked for."""

    outcome: Literal["delivered", "retry", "refused"]
    reason: str = ""
    after_s: float = 0.0


class Outward:
    """Posts to receivers; redirects are not followed, so no host is reached that the configuration does not name.

    Raises SourceError when it names one that ``allow_hosts`` lacks.
    """

    def __init__(self, config: Config, sinks: list[Sink], transport: httpx.AsyncBaseTransport | None = None) -> None:
        hosts = {urlsplit(url).hostname or "" for url in [*(sink.url for sink in sinks if sink.url), *config.urls]}
        if config.allow_hosts and (outside := sorted(hosts - set(config.allow_hosts))):
            raise SourceError(f"allow_hosts: it is given and lacks {', '.join(outside)}, which the configuration names")
        # A client of its own for each lane: a pool looks at all of its connections whenever it is asked for one, and
        # opening them anew takes most of the time of a storm.
        trusted = httpx.create_ssl_context(trust_env=False)
        self._clients = [
            httpx.AsyncClient(
                timeout=config.retry.timeout,
                verify=trusted,
                follow_redirects=False,
                trust_env=False,
                transport=transport,
                # A short answer may unpack to any length.
                headers={"Accept-Encoding": "identity"},
            )
            for _ in range(LANES)
        ]
        self._timeout_s = config.retry.timeout

    async def attempt(self, sink: Sink, outgoing: Outgoing, key: str, lane: int = 0) -> Attempt:
        """Try once; whatever the network does is an `Attempt`. Attempts of one ``lane`` share their connections."""
        if sink.url is None:
            return await asyncio.to_thread(_write, sink.config.path, outgoing.body)
        deadline = asyncio.get_running_loop().time() + 2 * self._timeout_s
        client = self._clients[lane]
        try:
            # The client's own limits are per read; a receiver that trickles must not hold the lane.
            async with asyncio.timeout_at(deadline):
                request = client.build_request(
                    "POST", sink.url, content=outgoing.body, headers=sink.headers(outgoing, key)
                )
                answer = await client.send(request, stream=True)
        except (TimeoutError, httpx.TimeoutException):
            return Attempt("retry", "timeout")
        except httpx.TransportError as error:
            return Attempt("retry", type(error).__name__)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Attempt("refused", type(error).__name__)
        said = await _said(answer, deadline)
        if answer.is_success:
            return Attempt("delivered")
        reason = f"HTTP {answer.status_code}"
        if answer.status_code >= 500 or answer.status_code == 429:
            return Attempt("retry", reason, _retry_after_s(answer.headers.get("Retry-After", "")))
        return Attempt("refused", f"{reason}: {said}" if said else reason)

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()


async def _said(answer: httpx.Response, deadline: float) -> str:
    """Return the begin of what an answer says, in a line; the status alone decides, so nothing here is an error."""
    kept = bytearray()
    try:
        if answer.headers.get("Content-Encoding", "identity") == "identity":
            async with asyncio.timeout_at(deadline):
                # What is read to its end leaves the connection to the next request.
                async for part in answer.aiter_bytes():
                    kept += part
                    if len(kept) >= _ANSWER_BYTES:
                        break
    except (TimeoutError, httpx.HTTPError):
        pass
    finally:
        await answer.aclose()
    return visible(kept[: 4 * _ANSWER_CHARACTERS].decode("utf-8", "replace").strip()[:_ANSWER_CHARACTERS])


def _retry_after_s(text: str) -> float:
    return min(float(text), _MOST_RETRY_AFTER_S) if text.isdigit() else 0.0


def _write(path: Path | None, body: bytes) -> Attempt:
    text = body if body.endswith(b"\n") else body + b"\n"
    try:
        if path is None or str(path) == "-":
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(text)
    except OSError as error:
        return Attempt("retry", error.strerror or "not written")
    return Attempt("delivered")
