"""Where the lab's traces and logs go: OTLP in, tables out, by event time."""

from __future__ import annotations

import gzip
import threading
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import uvicorn

from hypocenter.tracer.otlp import decode_logs, decode_traces
from hypocenter.tracer.schema import SIGNALS, TIME_COLUMN

PORT = 4318
_DECODERS = {"/v1/traces": (decode_traces, "spans"), "/v1/logs": (decode_logs, "logs")}


class Collector:
    """Holds what came since `forget`; `read` returns the rows of a window."""

    def __init__(self, host: str) -> None:
        self.url = f"http://{host}:{PORT}"
        self._tables: dict[str, list[pa.Table]] = {"spans": [], "logs": []}
        self._lock = threading.Lock()
        self._server = uvicorn.Server(
            uvicorn.Config(self._serve, host=host, port=PORT, log_level="error", lifespan="off", interface="asgi3")
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.should_exit = True
        self._thread.join(5)

    def read(self, signal: str, start_ns: int, end_ns: int) -> pa.Table:
        """Return the rows of ``[start_ns, end_ns)``."""
        with self._lock:
            table = pa.concat_tables(self._tables[signal] or [SIGNALS[signal].empty_table()])
        time = pc.field(TIME_COLUMN[signal])
        return table.filter((time >= start_ns) & (time < end_ns))

    def forget(self, before_ns: int) -> None:
        """Drop rows that are older."""
        for signal, tables in self._tables.items():
            time = pc.field(TIME_COLUMN[signal])
            with self._lock:
                table = pa.concat_tables(tables or [SIGNALS[signal].empty_table()])
                self._tables[signal] = [table.filter(time >= before_ns)]

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding") == b"gzip":
            body = gzip.decompress(body)
        decode, signal = _DECODERS[scope["path"]]
        batch = decode(body, headers[b"content-type"].decode(), "lab")
        with self._lock:
            self._tables[signal].append(batch.table(signal))
        answer = [(b"content-type", b"application/x-protobuf")]
        await send({"type": "http.response.start", "status": 200, "headers": answer})
        await send({"type": "http.response.body", "body": b""})
