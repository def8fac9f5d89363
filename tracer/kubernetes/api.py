"""The API server through the official client, raw: pages of a list and lines of a watch, without its models."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import orjson

from hypocenter.errors import SourceError

_CONNECT_S: Final = 10
_READ_S: Final = 60
# Longer than any watch lasts; a connection that died silently is found by TCP keep-alive before.
_WATCH_READ_S: Final = 420
_JSON: Final = "application/json"
_METADATA: Final = "application/json;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1"
_CHUNK_BYTES: Final = 64 * 1024
LINE_LIMIT_BYTES: Final = 64 << 20


class Refused(Exception):
    """An answer that is no success: ``code`` is its HTTP status, 0 when there was no answer at all."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}" if code else reason)
        self.code = code


class Api:
    """GET requests to one API server.

    Parameters
    ----------
    kubeconfig
        A kubeconfig file. None: the pod's service account inside a cluster, else the default kubeconfig.
    context
        A context of the kubeconfig; None is its current one.

    Raises
    ------
    SourceError
        No configuration was found, or it cannot be read.
    """

    def __init__(self, kubeconfig: str | None = None, context: str | None = None) -> None:
        self._client = _client(kubeconfig, context)

    @property
    def host(self) -> str:
        """The API server's address."""
        return str(self._client.configuration.host)

    def page(self, path: str, parameters: Mapping[str, str], *, metadata_only: bool = False) -> dict[str, Any]:
        """Return one page of a list; raises `Refused`."""
        accept = _METADATA.format(list="List") if metadata_only else _JSON
        response = self._get(path, parameters, accept, _READ_S)
        try:
            found = orjson.loads(response.data)
        except _broken() as error:
            raise Refused(0, f"{path}: {error}") from error
        if not isinstance(found, dict):
            raise Refused(0, f"{path}: the answer is no list")
        return found

    def watch(
        self, path: str, parameters: Mapping[str, str], opened: Opened, *, metadata_only: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield the events of a watch until the server ends it or ``opened`` is closed; raises `Refused`."""
        accept = _METADATA.format(list="") if metadata_only else _JSON
        response = self._get(path, parameters, accept, _WATCH_READ_S)
        opened.hold(response)
        held = b""
        try:
            for chunk in response.stream(_CHUNK_BYTES, decode_content=True):
                *lines, held = (held + chunk).split(b"\n")
                for line in filter(None, lines):
                    yield orjson.loads(line)
                if len(held) > LINE_LIMIT_BYTES:
                    raise Refused(0, f"{path}: an event is longer than 64 MiB")
        except _broken() as error:
            raise Refused(0, f"{path}: {error}") from error
        finally:
            opened.hold(None)
            # Bytes of a watch that was left early must not be taken for the next answer.
            response.close()

    def _get(self, path: str, parameters: Mapping[str, str], accept: str, read_s: int) -> Any:
        request = self._client.param_serialize(
            "GET",
            path,
            query_params=list(parameters.items()),
            header_params={"Accept": accept},
            auth_settings=["BearerToken"],
        )
        try:
            response = self._client.call_api(*request, _request_timeout=(_CONNECT_S, read_s)).response
        except _broken() as error:
            raise Refused(0, f"{path}: {type(error).__name__}: {str(error)[:200]}") from error
        if response.status != 200:
            reason = _reason(response)
            response.close()
            raise Refused(response.status, reason)
        return response


class Opened:
    """The connection that a watch waits on, so that another thread can end it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._response: Any = None
        self._closed = False

    def hold(self, response: Any) -> None:
        """Remember the open response, None when it is done; one that comes after `close` is ended at once."""
        with self._lock:
            self._response = response
            if self._closed:
                self._end()

    def close(self) -> None:
        """End the watch that is open, and every later one."""
        with self._lock:
            self._closed = True
            self._end()

    def _end(self) -> None:
        if self._response is not None:
            with suppress(OSError, ValueError):  # it has ended by itself
                self._response.shutdown()


def _client(kubeconfig: str | None, context: str | None) -> Any:
    from kubernetes import client
    from kubernetes import config as untyped

    config: Any = untyped
    configuration = client.Configuration()
    try:
        if kubeconfig is None and context is None:
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException:
                config.load_kube_config(client_configuration=configuration)
        else:
            config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
    except (config.ConfigException, OSError, TypeError, ValueError) as error:
        where = kubeconfig or "neither a service account nor a kubeconfig"
        raise SourceError(f"{where}: {error}; say --kubeconfig FILE, or run inside a cluster") from error
    # A watch a kind, and a list beside it.
    configuration.connection_pool_maxsize = 80
    configuration.keep_alive = True
    configuration.retries = False
    return client.ApiClient(configuration)


def _broken() -> tuple[type[Exception], ...]:
    """Return what a lost connection and an answer that is not JSON raise."""
    import urllib3.exceptions
    from kubernetes.client.exceptions import ApiException

    return (urllib3.exceptions.HTTPError, ApiException, OSError, ValueError)


def _reason(response: Any) -> str:
    """Return the message of a Status, bounded."""
    try:
        status = orjson.loads(response.data)
    except _broken():
        status = None
    message = status.get("message") if isinstance(status, dict) else None
    return str(message or response.reason or "")[:300]
