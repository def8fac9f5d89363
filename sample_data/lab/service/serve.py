"""How requests come in: HTTP by FastAPI, gRPC, messages of a queue, and a clock."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio.to_thread
import fastapi
import grpc
import pika
import uvicorn
from fastapi import Request
from fastapi.responses import JSONResponse
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from .engine import Engine, bind, log

Steps = list[Any]
ADDRESS = os.environ["LAB_ADDRESS"]


def serve_http(engine: Engine, endpoints: dict[str, Steps]) -> None:
    """Serve in a thread of its own."""
    # The spans of single ASGI events treble a recording and tell nothing; the environment has no switch for them.
    FastAPIInstrumentor().uninstrument()
    FastAPIInstrumentor().instrument(exclude_spans=["receive", "send"])
    app = fastapi.FastAPI()

    def route(steps: Steps) -> Callable[..., Any]:
        async def endpoint(request: Request) -> JSONResponse:
            body = await request.body()
            values = {"id": 1, "user": "nobody", **(json.loads(body) if body else {}), **request.path_params}
            return await anyio.to_thread.run_sync(_answer, engine, steps, values)

        return endpoint

    for name, steps in endpoints.items():
        method, path = name.split(" ")
        app.add_api_route(path, route(steps), methods=[method])
    server = uvicorn.Server(uvicorn.Config(app, host=ADDRESS, port=8080, log_level="error", access_log=False))
    threading.Thread(target=server.run, daemon=True).start()


def _answer(engine: Engine, steps: Steps, values: dict[str, Any]) -> JSONResponse:
    try:
        return JSONResponse(engine.answer(steps, values))
    # A service answers 500 to whatever its handler raises, and says so in its span and its log.
    except Exception as error:  # noqa: BLE001
        trace.get_current_span().record_exception(error)
        log.exception("request failed: %s: %s", type(error).__name__, error)
        return JSONResponse({"error": str(error)}, 500)


def serve_grpc(engine: Engine, methods: dict[str, Steps]) -> None:
    """Serve in threads of its own; messages are JSON, so that no code need be generated."""
    if not methods:
        return

    def handler(steps: Steps) -> Callable[..., Any]:
        def answer(request: dict[str, Any], context: Any) -> Any:
            try:
                return engine.answer(steps, request)
            except Exception as error:  # noqa: BLE001
                log.exception("request failed: %s: %s", type(error).__name__, error)
                context.abort(grpc.StatusCode.INTERNAL, str(error))

        return answer

    handlers = {
        name: grpc.unary_unary_rpc_method_handler(handler(steps), json.loads, lambda v: json.dumps(v).encode())
        for name, steps in methods.items()
    }
    server = grpc.server(ThreadPoolExecutor(10))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"shop.{engine.service.title()}", handlers),))
    server.add_insecure_port(f"{ADDRESS}:9090")
    server.start()
    _KEPT.append(server)


# A server that nothing holds is stopped.
_KEPT: list[Any] = []


def consume(engine: Engine, queue: str, steps: Steps, stop: threading.Event) -> None:
    """Work through a queue, a message at a time; what fails goes back to the queue."""
    while not stop.is_set():
        try:
            connection = pika.BlockingConnection(pika.ConnectionParameters(engine.host("broker"), heartbeat=0))
            channel = connection.channel()
            bind(channel, queue)
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(queue, lambda *message: _process(engine, steps, *message))
            channel.start_consuming()
        except (pika.exceptions.AMQPError, OSError) as error:
            log.warning("no broker: %s", type(error).__name__)
            stop.wait(1.0)


def _process(engine: Engine, steps: Steps, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
    try:
        engine.answer(steps, {"id": 1, **json.loads(body)})
    except Exception as error:  # noqa: BLE001
        trace.get_current_span().record_exception(error)
        trace.get_current_span().set_status(trace.StatusCode.ERROR, str(error))
        log.exception("message failed: %s: %s", type(error).__name__, error)
        time.sleep(0.2)
        channel.basic_nack(method.delivery_tag, requeue=True)
    else:
        channel.basic_ack(method.delivery_tag)


def every(engine: Engine, seconds: float, steps: Steps, stop: threading.Event) -> None:
    """Run a job again and again, each run a trace of its own."""
    tracer = trace.get_tracer("shop.job")
    while not stop.wait(seconds):
        with tracer.start_as_current_span(f"{engine.service} job"):
            try:
                engine.answer(steps, {"id": 1, "user": "nobody"})
            except Exception as error:
                trace.get_current_span().record_exception(error)
                logging.getLogger("shop").exception("job failed: %s: %s", type(error).__name__, error)
