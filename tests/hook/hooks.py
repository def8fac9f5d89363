"""What the tests of the hook share: webhooks, a receiver that remembers, and workers that answer at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import small_incident as small

from hypocenter.errors import RankerError
from hypocenter.hook.config import Config, build_config
from hypocenter.hook.hook import Hook
from hypocenter.hook.ranking import finding
from hypocenter.tracer.window import to_rfc3339

ZERO = "0001-01-01T00:00:00Z"
ALERT_NS = small.ALERT_NS


def alert(service: str | None = "web", name: str = "Errors", status: str = "firing", **more: Any) -> dict[str, Any]:
    labels = {"alertname": name} | ({"service": service} if service else {}) | more.pop("labels", {})
    ends = to_rfc3339(ALERT_NS + 420 * 10**9) if status == "resolved" else ZERO
    return {
        "status": status,
        "labels": labels,
        "annotations": {"summary": f"{name} of {service}"},
        "startsAt": to_rfc3339(ALERT_NS),
        "endsAt": ends,
        "generatorURL": "http://prometheus/graph",
        "fingerprint": f"{name}-{service}",
    } | more


def webhook(*alerts: dict[str, Any], group: str | None = None, **more: Any) -> dict[str, Any]:
    status = "resolved" if alerts and all(a["status"] == "resolved" for a in alerts) else "firing"
    return {
        "receiver": "hook",
        "status": status,
        "alerts": list(alerts),
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {"summary": "s"},
        "externalURL": "http://alertmanager",
        "version": "4",
        "groupKey": group or "{}:" + ",".join(str(a["labels"]) for a in alerts),
        "truncatedAlerts": 0,
    } | more


def body(*alerts: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(webhook(*alerts, **more)).encode()


class Receiver:
    """Answers as it is told, 200 by default, and keeps what it got."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self.answer = answer or (lambda _request: httpx.Response(200))

    @property
    def transport(self) -> httpx.MockTransport:
        def handle(request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            return self.answer(request)

        return httpx.MockTransport(handle)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    @property
    def summaries(self) -> list[str | None]:
        return [got["commonAnnotations"].get("hypocenter_summary") for got in self.bodies]


class Workers:
    """Ranks the small incident without a process; ``gate`` lets it wait, ``failure`` raise."""

    def __init__(self, **changes: Any) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer = finding(small.case(), small.ranking()) | {"is_partial": False} | changes
        self.gate: asyncio.Event | None = None
        self.before_gate = 0  # rankings that do not wait
        self.failure: str | None = None

    async def ask(self, _urgency: int, kind: str, arguments: dict[str, Any], _timeout_s: float) -> dict[str, Any]:
        self.asked.append((kind, arguments))
        if kind == "known":
            names = ["web", "checkout", "payment", "catalog", "billing"]
            return {"services": names, "pods": {"payment-7d4b9c-x2x9z": "payment"}, "nodes": {"n1": names}}
        if kind == "rank" and self.gate is not None and len(self.ranked) > self.before_gate:
            await self.gate.wait()
        if self.failure is not None:
            raise RankerError(self.failure)
        return dict(self.answer)

    @property
    def ranked(self) -> list[str | None]:
        return [arguments["symptom"] for kind, arguments in self.asked if kind == "rank"]


def config(folder: Path, **more: Any) -> Config:
    plain = {
        "state": str(folder / "state"),
        "store": str(folder / "store"),
        "public_url": "http://hook.example",
        "sinks": [{"kind": "webhook", "name": "next", "url": "http://next.example/v4?token=secret"}],
        "deadline": 60,  # a busy machine is no reason to fail
        "retry": {"first": 0.01, "longest": 0.02},
    }
    return build_config(plain | more, "test")


def hook(folder: Path, receiver: Receiver, workers: Workers | None = None, **more: Any) -> Hook:
    return Hook(config(folder, **more), workers=workers or Workers(), transport=receiver.transport)


async def settled(running: Hook) -> None:
    """Return when nothing is under way."""
    async with asyncio.timeout(100):
        while running.dispatcher.pending:
            await asyncio.sleep(0.005)


async def learnt(running: Hook) -> None:
    """Return when the names of the store are known."""
    async with asyncio.timeout(100):
        while not running.enricher.known.services:
            await asyncio.sleep(0.005)
