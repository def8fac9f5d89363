"""The HTTP side: who may speak, how much, and what the pages, the feedback and the metrics say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import hooks
import httpx
import pytest

from hypocenter.hook.app import create_app
from hypocenter.hook.hook import Hook

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def ask(
    folder: Path, steps: Callable[[httpx.AsyncClient, Hook], Awaitable[Any]], workers: Any = None, **more: Any
) -> Any:
    async def whole() -> Any:
        async with hooks.hook(folder, hooks.Receiver(), workers, **more) as hook:
            await hooks.learnt(hook)
            transport = httpx.ASGITransport(create_app(hook))
            async with httpx.AsyncClient(transport=transport, base_url="http://hook.example") as client:
                return await steps(client, hook)

    return asyncio.run(whole())


async def incident_of(client: httpx.AsyncClient, hook: Hook, *alerts: dict[str, Any]) -> str:
    answer = await client.post("/alertmanager", content=hooks.body(*(alerts or (hooks.alert(),))))
    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    await hooks.settled(hook)
    return next(iter(hook.enricher.incidents)).id


def test_the_list_and_an_incident_show_the_answer(tmp_path: Path) -> None:
    async def steps(client: httpx.AsyncClient, hook: Hook) -> list[httpx.Response]:
        name = await incident_of(client, hook)
        return [await client.get("/incidents"), await client.get(f"/incidents/{name}")]

    listed, one = ask(tmp_path, steps)
    answer = "payment (service) is very likely the origin (87%), since 22:18:20 UTC"
    assert answer in listed.text
    assert answer in one.text
    assert [label in one.text for label in ("Why", "Spread", "Changed", "Look at", "Or else")] == [True] * 5
    assert one.headers["content-security-policy"].startswith("default-src 'none'")
    assert (one.headers["x-content-type-options"], one.headers["cache-control"]) == ("nosniff", "no-store")


def test_markup_of_labels_and_telemetry_is_text_on_the_pages(tmp_path: Path) -> None:
    workers = hooks.Workers(headline=HOSTILE, name=HOSTILE, candidates=[HOSTILE], not_checked=[HOSTILE])

    async def steps(client: httpx.AsyncClient, hook: Hook) -> list[str]:
        name = await incident_of(client, hook, hooks.alert("web", name=HOSTILE, labels={"job": HOSTILE}))
        return [(await client.get(path)).text for path in ("/incidents", f"/incidents/{name}")]

    for page in ask(tmp_path, steps, workers):
        assert "&lt;script&gt;" in page
        assert "<script" not in page
        assert "<img" not in page


def test_feedback_becomes_a_label_and_is_told(tmp_path: Path) -> None:
    workers = hooks.Workers()

    async def steps(client: httpx.AsyncClient, hook: Hook) -> list[Any]:
        path = f"/incidents/{await incident_of(client, hook)}/feedback"
        said = [
            await client.post(path, data={"verdict": "right"}),
            await client.post(path, json={"verdict": "wrong", "origin": "catalog"}),
            await client.post(path, json={"verdict": "wrong"}),
            await client.post(path, json={"verdict": "maybe"}),
            await client.post(path, data={"verdict": "none"}, headers={"Origin": "http://evil.example"}),
            await client.post("/incidents/unknown/feedback", data={"verdict": "right"}),
        ]
        page = await client.get(path.removesuffix("/feedback"))
        return [[a.status_code for a in said], page.text]

    codes, page = ask(tmp_path, steps, workers)
    assert codes == [303, 200, 400, 400, 403, 404]
    labels = [arguments["label"]["root_cause_service"] for kind, arguments in workers.asked if kind == "keep_case"]
    assert labels == ["payment", "catalog"]
    assert "Feedback: the origin was catalog" in page


def test_credentials_open_all_but_the_health_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    monkeypatch.setenv("HOOK_PASSWORD", "pass")
    auth = {"bearer": {"env": "HOOK_TOKEN"}, "basic": {"user": "oncall", "password": {"env": "HOOK_PASSWORD"}}}

    async def steps(client: httpx.AsyncClient, _hook: Hook) -> list[int]:
        given: list[dict[str, Any]] = [
            {},
            {"headers": {"Authorization": "Bearer t0ken"}},
            {"headers": {"Authorization": "Bearer t0keN"}},
            {"auth": ("oncall", "pass")},
            {"auth": ("oncall", "x")},
            {"headers": {"Authorization": "Basic %%%"}},
        ]
        codes = [(await client.get("/incidents", **each)).status_code for each in given]
        codes.append((await client.post("/alertmanager", content=hooks.body(hooks.alert()))).status_code)
        return [*codes, (await client.get("/healthz")).status_code]

    assert ask(tmp_path, steps, auth=auth) == [401, 200, 401, 200, 401, 401, 401, 200]


def test_what_is_too_large_or_no_webhook_is_refused(tmp_path: Path) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 100

    async def steps(client: httpx.AsyncClient, _hook: Hook) -> list[int]:
        posts = [b"x" * 1001, chunks(), b"[]", b"{}"]
        codes = [(await client.post("/alertmanager", content=body)).status_code for body in posts]
        return [*codes, (await client.get("/alertmanager")).status_code]

    assert ask(tmp_path, steps, limits={"body_bytes": 1000}) == [413, 413, 400, 200, 405]


def test_metrics_and_readiness_tell_what_happened(tmp_path: Path) -> None:
    async def steps(client: httpx.AsyncClient, hook: Hook) -> tuple[str, Any]:
        await incident_of(client, hook)
        await client.post("/grafana", content=hooks.body(hooks.alert()))
        return (await client.get("/metrics")).text, (await client.get("/readyz")).json()

    text, ready = ask(tmp_path, steps)
    assert ready == {"journal": True, "enrichment": True, "names": 5, "undelivered": 0}
    scope = 'otel_scope_name="hypocenter.hook",otel_scope_schema_url="",otel_scope_version=""'
    lines = text.splitlines()
    assert f'hypocenter_hook_received_total{{{scope},source="alertmanager"}} 1.0' in lines
    assert f'hypocenter_hook_duplicates_total{{{scope},source="grafana"}} 1.0' in lines
    assert f'hypocenter_hook_delivered_total{{how="enriched",{scope},sink="next"}} 1.0' in lines


def test_incidents_are_there_as_json(tmp_path: Path) -> None:
    async def steps(client: httpx.AsyncClient, hook: Hook) -> Any:
        await incident_of(client, hook)
        return json.loads((await client.get("/incidents", headers={"Accept": "application/json"})).text)

    (incident,) = ask(tmp_path, steps)
    assert (incident["services"], incident["finding"]["origin"]["service"]) == (["web"], "payment")
