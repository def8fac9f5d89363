"""A session on live servers: pulled into a store that goes with the session."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from hypocenter.errors import CaseError, SourceError
from hypocenter.sources import open_live

T = 1_700_000_000


@pytest.fixture
def zipkin() -> Iterator[str]:
    span = {"traceId": "1", "id": "2", "name": "get", "timestamp": T * 10**6, "duration": 5, "kind": "SERVER"}
    body = json.dumps([[span | {"localEndpoint": {"serviceName": "cart"}}]]).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_window_is_pulled_and_goes_with_the_session(zipkin: str) -> None:
    session = open_live(T - 60, T + 60, zipkin=zipkin)
    folder = session.store.path
    assert session.services()["spans"].to_dict() == {"cart": 1}
    assert folder.is_dir()
    del session
    gc.collect()
    assert not folder.exists()


def test_a_store_that_is_named_stays_and_takes_each_row_once(zipkin: str, tmp_path: Path) -> None:
    for _ in range(2):
        session = open_live(T - 60, T + 60, zipkin={"url": zipkin, "limit": 10}, store=tmp_path / "store")
    assert session.services()["spans"].to_dict() == {"cart": 1}


def test_nothing_named_and_a_window_that_ends_before_it_begins_are_refused() -> None:
    with pytest.raises(SourceError, match="no server is named"):
        open_live()
    with pytest.raises(CaseError, match="since must lie before until"):
        open_live(T, T - 1, prometheus="http://127.0.0.1:9")
