"""Run one replica: ``python -m sample_data.shop JSON`` with the text of `Replica.to_json`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from starlette.routing import Match, Route

from . import telemetry
from .handlers import SERVICES
from .replica import Replica
from .service import Service


def main() -> None:
    """Serve until SIGTERM, then flush the telemetry."""
    replica = Replica.from_json(sys.argv[1])
    stop_telemetry = telemetry.start(replica)
    service = Service(replica)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        service.open()
        yield
        # Not after `uvicorn.run`: it ends the process by the signal that it got.
        service.close()
        stop_telemetry()

    app = Starlette(routes=service.routes(SERVICES[replica.service](service)), lifespan=lifespan)
    traced = OpenTelemetryMiddleware(
        app,
        excluded_urls="healthz,metrics,control",
        default_span_details=lambda scope: _name(app, scope),
        exclude_spans=["receive", "send"],
    )
    uvicorn.run(traced, host="127.0.0.1", port=replica.port, log_level="warning", access_log=False)


def _name(app: Starlette, scope: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the span's name and route: ``GET /products/{product}``, the template and never the path."""
    for route in app.routes:
        if isinstance(route, Route) and route.matches(scope)[0] is Match.FULL:
            path = route.path.replace(":int", "")
            return f"{scope['method']} {path}", {"http.route": path}
    return scope["method"], {}


if __name__ == "__main__":
    main()
