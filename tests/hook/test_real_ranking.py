"""A real ranking behind the pages: its report is drawn on demand, and what people say of it becomes a labelled case."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hooks
import httpx
import pytest
import small_incident as small
from typer.testing import CliRunner

from hypocenter.cli.main import app
from hypocenter.hook.app import create_app
from hypocenter.hook.ranking import KINDS
from hypocenter.tracer.store import Store

LINKS = {"Jaeger": "http://jaeger:16686/trace/{trace_id}"}


class Here:
    """The functions of the worker, without its process."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, _urgency: int, kind: str, arguments: dict[str, Any], _timeout_s: float) -> dict[str, Any]:
        self.asked.append(kind)
        return await asyncio.to_thread(KINDS[kind], **arguments)


@dataclass(frozen=True)
class Told:
    incident: str
    added: dict[str, str]
    reports: list[httpx.Response]
    drawn: int
    codes: list[int]
    cases: Path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder, receiver, workers = tmp_path_factory.mktemp("hook"), hooks.Receiver(), Here()
    Store(folder / "store", create=True).append(small.telemetry())

    async def whole() -> Told:
        async with hooks.hook(folder, receiver, workers, links=LINKS) as hook:  # type: ignore[arg-type]
            await hooks.learnt(hook)
            await hook.receive(hooks.body(hooks.alert("web")), "alertmanager")
            await hooks.settled(hook)
            (incident,) = hook.enricher.incidents
            transport = httpx.ASGITransport(create_app(hook))
            async with httpx.AsyncClient(transport=transport, base_url="http://hook.example") as client:
                path = f"/incidents/{incident.id}"
                reports = [await client.get(f"{path}/report") for _ in range(2)]
                said = [{"verdict": "wrong", "origin": "catalog"}, {"verdict": "right"}]
                codes = [(await client.post(f"{path}/feedback", json=each)).status_code for each in said]
        added = receiver.bodies[0]["commonAnnotations"]
        cases = folder / "state" / "cases" / "CASES.jsonl"
        return Told(incident.id, added, reports, workers.asked.count("draw"), codes, cases)

    return asyncio.run(whole())


def test_the_notification_names_the_origin(told: Told) -> None:
    assert (told.added["hypocenter_origin_service"], told.added["hypocenter_incident"]) == ("payment", told.incident)


def test_the_report_is_drawn_once_when_it_is_asked_for(told: Told) -> None:
    first, second = told.reports
    assert (first.status_code, first.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "payment (service)" in first.text
    assert first.text.count('href="http://jaeger:16686/trace/') == 2
    assert (second.text == first.text, told.drawn) == (True, 1)


def test_feedback_is_a_labelled_case_that_evaluate_reads(told: Told) -> None:
    assert told.codes == [200, 200]
    (line,) = map(json.loads, told.cases.read_text(encoding="utf-8").splitlines())  # the last word counts
    assert (line["case"], line["root_cause_service"], line["target"]["node"]) == (told.incident, "payment", "web")
    done = CliRunner().invoke(app, ["evaluate", str(told.cases), "--ranker", "hypocenter", "-o", "json"])
    assert done.exit_code == 0, done.output
    scored = next(row for row in json.loads(done.stdout)["scores"] if row["ranker"] == "hypocenter")
    assert (scored["group"], scored["n"], scored["ac"]["1"], scored["failed"]) == ("hook", 1, 1.0, 0)
