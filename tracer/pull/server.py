"""A server that is asked over HTTP: credentials from files, TLS, bounded answers, errors that name the remedy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import orjson
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.util import Retry

from hypocenter.errors import SourceError
from hypocenter.legible import visible

_CHUNK_BYTES: Final = 1 << 20
_TOLD: Final = 300
# A server's own answer that it took too much; less of it may be asked for.
_TOO_MUCH: Final = ("too many samples", "exceeded maximum resolution", "exceeds the limit", "too large", "too many")


class TooMuch(SourceError):
    """The answer is larger than the bound, or the server says that it would be; ask for less at once."""


class NotThere(SourceError):
    """The server answers, but does not know the path or the thing asked for (404)."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a server.

    Files are read anew for each request, so that a rotated token needs no restart. ``tenant`` is sent as
    ``X-Scope-OrgID``, ``timeout_s`` bounds one request as a whole and ``max_bytes`` its answer, decompressed.
    """

    bearer_token_file: str | None = None
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure_skip_verify: bool = False
    tenant: str | None = None
    timeout_s: float = 120.0
    max_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        if self.bearer_token_file and self.username:
            raise SourceError("both a bearer token and a user name are given; a server takes one of them")
        if self.key_file and not self.cert_file:
            raise SourceError("a client's key needs its certificate: name cert_file too")


class Server(requests.Session):
    """A session with one server; ``kind`` is what it is expected to be, as messages name it.

    Raises SourceError, retryable where trying again may help, for whatever does not come to an answer of 2xx.
    """

    def __init__(self, url: str, access: Access, kind: str) -> None:
        super().__init__()
        self.base, given = _split(url, kind)
        self.kind, self._access = kind, access
        self.auth = _Credentials(access, given)
        self.verify = not access.insecure_skip_verify if not access.ca_file else access.ca_file
        if access.cert_file:
            self.cert = (access.cert_file, access.key_file) if access.key_file else access.cert_file
        if access.tenant:
            self.headers["X-Scope-OrgID"] = access.tenant
        self.retry = Retry(
            total=2, read=False, backoff_factor=0.3, status_forcelist=(429, 502, 504), raise_on_status=False
        )
        self.mount(self.base, HTTPAdapter(max_retries=self.retry))

    def read(self, path: str, params: Mapping[str, Any] | None = None, accept: str = "application/json") -> bytes:
        """Return the body of ``path``, e.g. ``/api/services``."""
        answer = self.request("GET", f"{self.base}{path}", params=params, headers={"Accept": accept})
        body: bytes = answer.content
        return body

    def json(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the parsed body of ``path``."""
        return self.request("GET", f"{self.base}{path}", params=params).json()

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """Return the whole answer; its ``json`` is parsed by orjson and checked to be what ``kind`` answers."""
        # Said here, or variables of the environment would take precedence.
        options |= {"timeout": self._access.timeout_s, "stream": True, "verify": self.verify, "cert": self.cert}
        deadline = time.monotonic() + self._access.timeout_s
        place = f"{self.base}{urlsplit(url).path.removeprefix(urlsplit(self.base).path)}"
        try:
            with super().request(method, url, **options) as answer:
                body = self._body(answer, deadline, place)
        except requests.exceptions.SSLError as error:
            remedy = "name the authority's certificate (ca_file), or use http where the server has no TLS"
            raise SourceError(f"{place}: TLS failed: {_cause(error)}; {remedy}") from None
        except requests.exceptions.Timeout:
            raise self._slow(place) from None
        except requests.exceptions.ConnectionError as error:
            remedy = f"is {self.kind} running, and is this its address?"
            raise SourceError(f"{place}: cannot be reached: {_cause(error)}; {remedy}", retryable=True) from None
        except (requests.exceptions.RequestException, OSError) as error:
            raise SourceError(f"{place}: {_cause(error)}; check the address and the files named") from None
        if not answer.ok:
            raise self._refusal(answer.status_code, body, place)
        answer._content, answer._content_consumed = body, True
        content_type = answer.headers.get("Content-Type", "no type")
        setattr(answer, "json", lambda **_: self.parsed(body, content_type, place))  # noqa: B010  of one answer
        return answer

    def parsed(self, body: bytes, content_type: str, place: str) -> Any:
        """Return the JSON of an answer."""
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            what = f"expected JSON, got {visible(content_type)[:60]}"
            raise SourceError(
                f"{place}: not {_a(self.kind)}: {what}; check the address (a login page? another path?)"
            ) from None

    def _body(self, answer: requests.Response, deadline: float, place: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        for chunk in answer.iter_content(_CHUNK_BYTES):
            parts.append(chunk)
            size += len(chunk)
            if size > self._access.max_bytes:
                limit = self._access.max_bytes / 2**20
                raise TooMuch(f"{place}: the answer is longer than {limit:g} MiB; ask for less, or raise max_bytes")
            if time.monotonic() > deadline:
                raise self._slow(place)
        return b"".join(parts)

    def _slow(self, place: str) -> SourceError:
        remedy = "ask for a shorter window or fewer series, or raise timeout_s"
        return SourceError(f"{place}: no whole answer within {self._access.timeout_s:g} s; {remedy}", retryable=True)

    def _refusal(self, status: int, body: bytes, place: str) -> SourceError:
        told = _told(body)
        if status in (401, 403):
            remedy = "name a bearer_token_file, or username and password_file, that may read it"
            return SourceError(f"{place}: refused with {status}: the credentials are absent or not valid; {remedy}")
        if status == 404:
            remedy = f"give the address of {self.kind} up to, not including, /api"
            return NotThere(f"{place}: not found (404): {told}; {remedy}")
        if any(words in told for words in _TOO_MUCH):
            return TooMuch(f"{place}: {told}; ask for less at once")
        is_passing = status in (408, 429) or status >= 500
        remedy = "try again later" if is_passing else "correct the query or the window"
        return SourceError(f"{place}: answered with {status}: {told}; {remedy}", retryable=is_passing)


class _Credentials(AuthBase):
    """Sets the header from files as they are now; without any, what a .netrc says is not used either."""

    def __init__(self, access: Access, given: tuple[str, str] | None) -> None:
        self._access, self._given = access, given

    def __call__(self, request: Any) -> Any:
        access = self._access
        if access.bearer_token_file:
            request.headers["Authorization"] = f"Bearer {_secret(access.bearer_token_file)}"
        elif access.username:
            password = _secret(access.password_file) if access.password_file else ""
            HTTPBasicAuth(access.username, password)(request)
        elif self._given:
            HTTPBasicAuth(*self._given)(request)
        return request


def _secret(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SourceError(f"{path}: the credential cannot be read ({reason}); check the path and its rights") from None


def _split(url: str, kind: str) -> tuple[str, tuple[str, str] | None]:
    """Return the address without user and password, and these."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
        parts = parts._replace(scheme="")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SourceError(f"expected the address of {kind} such as http://host:9090, without a query; got another form")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    base = urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
    return base, (parts.username, parts.password or "") if parts.username else None


def _told(body: bytes) -> str:
    """Return what an error's body says, in one short line."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = body[:_TOLD].decode(errors="replace")
    if isinstance(value, dict):
        errors = value.get("errors") or [value.get("error") or value.get("message")]
        first = errors[0] if isinstance(errors, list) and errors else errors
        value = (first.get("msg") or first.get("message")) if isinstance(first, dict) else first
    return visible(" ".join(str(value or "no reason given").split()))[:_TOLD]


def _cause(error: BaseException) -> str:
    """Return the innermost reason; the outer ones repeat addresses with whatever they hold."""
    while (inner := error.__cause__ or error.__context__ or getattr(error, "reason", None)) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    said = (str(getattr(error, "strerror", None) or error).splitlines() or [""])[0]
    return visible(said)[:_TOLD] or type(error).__name__


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"
