"""The HTTP side of the hook: webhooks in, pages and feedback, health and metrics."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from hypocenter.errors import CaseError, DecodeError, DeliveryError, RankerError

from .feedback import Feedback
from .hook import Hook, Overloaded
from .incidents import Incident
from .pages import incident_page, list_page
from .pool import CASE, DRAW
from .security import PAGE_POLICY, Authenticated, is_from_elsewhere, read_body, too_large

_ID = re.compile(r"[0-9a-f-]{1,64}")
_FORM_BYTES = 64 << 10
_DRAW_S = 120.0


class Endpoints:
    """The routes, bound to one hook."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    async def alertmanager(self, request: Request) -> Response:
        """Alertmanager's webhook."""
        return await self._receive(request, "alertmanager")

    async def grafana(self, request: Request) -> Response:
        """Grafana's alerting webhook."""
        return await self._receive(request, "grafana")

    async def _receive(self, request: Request, source: str) -> Response:
        hook, limit = self._hook, self._hook.config.limits.body_bytes
        body = await read_body(request, limit)
        if body is None:
            hook.observe.count("refused", reason="too large")
            return too_large(limit)
        try:
            with hook.observe.span("receive", {"hypocenter.source": source}):
                return JSONResponse({"status": await hook.receive(body, source)})
        except DecodeError as error:
            hook.observe.count("refused", reason="not a webhook")
            return PlainTextResponse(f"{error}\n", 400)
        except Overloaded as error:
            # Alertmanager sends again on 5xx, and on nothing else.
            hook.observe.count("refused", reason="overloaded")
            return PlainTextResponse(f"{error}\n", 503, {"Retry-After": "5"})
        except DeliveryError as error:
            hook.observe.count("refused", reason="not delivered")
            return PlainTextResponse(f"{error}\n", 502)

    async def incidents(self, request: Request) -> Response:
        """The list of incidents; JSON where it is asked for."""
        found = list(self._hook.enricher.incidents)
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse([incident.to_dict() for incident in found[:100]])
        return _page(list_page(found))

    async def incident(self, request: Request) -> Response:
        """One incident."""
        found = self._find(request)
        if found is None:
            return PlainTextResponse("no such incident\n", 404)
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse(found.to_dict())
        return _page(incident_page(found))

    async def report(self, request: Request) -> Response:
        """The full report; drawn when first asked for, since few incidents are looked at that closely."""
        found = self._find(request)
        if found is None:
            return PlainTextResponse("no such incident\n", 404)
        path = self._hook.report_path(found.id)
        drawn_ns = path.stat().st_mtime_ns if path.exists() else 0
        if drawn_ns < found.ranked_ns:
            arguments = self._hook.enricher.again(found) | {"path": str(path), "links": self._hook.config.links}
            try:
                await self._hook.workers.ask(DRAW, "draw", arguments, _DRAW_S)
            except RankerError as error:
                if not path.exists():
                    return PlainTextResponse(f"the report cannot be drawn: {error}\n", 503)
        return FileResponse(path, media_type="text/html; charset=utf-8")

    async def feedback(self, request: Request) -> Response:
        """What somebody says about an answer, as a form or JSON: verdict right, wrong (with origin) or none."""
        found = self._find(request)
        if found is None:
            return PlainTextResponse("no such incident\n", 404)
        if is_from_elsewhere(request):
            return PlainTextResponse("feedback is taken from the hook's own pages\n", 403)
        body = await read_body(request, _FORM_BYTES)
        if body is None:
            return too_large(_FORM_BYTES)
        is_json = request.headers.get("content-type", "").startswith("application/json")
        try:
            said = Feedback.read(_values(body, is_json), found)
            arguments = self._hook.enricher.again(found)
            folder = str(self._hook.config.state / "cases")
            arguments |= {"folder": folder, "label": said.label(), "incident": found.id}
            kept = await self._hook.workers.ask(CASE, "keep_case", arguments, _DRAW_S)
        except (CaseError, ValueError) as error:
            return PlainTextResponse(f"{error}\n", 400)
        except RankerError as error:
            return PlainTextResponse(f"the case cannot be kept: {error}\n", 503)
        self._hook.enricher.incidents.say(found, said.verdict, said.service, said.text())
        if is_json:
            return JSONResponse(kept)
        return RedirectResponse(f"/incidents/{found.id}", 303)

    async def metrics(self, _request: Request) -> Response:
        """The hook's own metrics."""
        return Response(self._hook.observe.to_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def healthz(self, _request: Request) -> Response:
        """Whether the process serves."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        """What works: notifications are taken even where enrichment does not."""
        hook = self._hook
        state = {
            "journal": hook.journal is not None,
            "enrichment": hook.is_warm and bool(hook.config.sources),
            "names": len(hook.enricher.known.services),
            "undelivered": len(hook.dispatcher.pending),
        }
        return JSONResponse(state, 200 if state["journal"] else 503)

    def _find(self, request: Request) -> Incident | None:
        name = request.path_params["incident"]
        return self._hook.enricher.incidents.get(name) if _ID.fullmatch(name) else None


def create_app(hook: Hook) -> Starlette:
    """Return the ASGI application of a hook that it starts and stops; SourceError when a secret cannot be read."""
    ends = Endpoints(hook)
    bearer, basic = hook.config.auth.read()

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with hook:
            yield

    routes = [
        Route("/alertmanager", ends.alertmanager, methods=["POST"]),
        Route("/grafana", ends.grafana, methods=["POST"]),
        Route("/incidents", ends.incidents),
        Route("/incidents/{incident}", ends.incident),
        Route("/incidents/{incident}/report", ends.report),
        Route("/incidents/{incident}/feedback", ends.feedback, methods=["POST"]),
        Route("/metrics", ends.metrics),
        Route("/healthz", ends.healthz),
        Route("/readyz", ends.readyz),
    ]
    middleware = [Middleware(Authenticated, bearer=bearer, basic=basic)]
    return Starlette(routes=routes, middleware=middleware, lifespan=lifespan)


def _page(html: str) -> Response:
    return HTMLResponse(html, headers={"Content-Security-Policy": PAGE_POLICY})


def _values(body: bytes, is_json: bool) -> dict[str, Any]:
    if is_json:
        found = json.loads(body)
        return found if isinstance(found, dict) else {}
    return {key: values[-1] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
