"""A service and its client in one process, instrumented from outside; says how many spans it has ended."""

from __future__ import annotations

import sys
import threading
import time

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor


class Counter(SpanProcessor):
    ended = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.ended += 1


counter = Counter()
provider = trace.get_tracer_provider()
provider.add_span_processor(counter)  # type: ignore[attr-defined]
app = FastAPI()


@app.get("/items/{number}")
def item(number: int) -> dict[str, int]:
    if number % 10 == 9:
        raise HTTPException(503)
    with trace.get_tracer("app").start_as_current_span("work"):
        return {"item": number}


server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
with httpx.Client(timeout=60) as client:
    for number in range(int(sys.argv[1])):
        client.get(f"http://127.0.0.1:{port}/items/{number}")
server.should_exit = True
thread.join()
provider.shutdown()  # type: ignore[attr-defined]
print("ended", counter.ended)
