"""What people say about an answer becomes a case on which ``hypocenter evaluate`` judges the ranker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import hooks
import httpx
import small_incident as small
from typer.testing import CliRunner

from hypocenter.cli.main import app
from hypocenter.hook.app import create_app
from hypocenter.hook.ranking import KINDS
from hypocenter.tracer.store import Store


class Here:
    """The functions of the worker, without its process."""

    async def ask(self, _urgency: int, kind: str, arguments: dict[str, Any], _timeout_s: float) -> dict[str, Any]:
        return await asyncio.to_thread(KINDS[kind], **arguments)


def test_feedback_is_a_labelled_case_that_evaluate_reads(tmp_path: Path) -> None:
    Store(tmp_path / "store", create=True).append(small.telemetry())
    receiver = hooks.Receiver()

    async def whole() -> list[Any]:
        async with hooks.hook(tmp_path, receiver, Here()) as hook:  # type: ignore[arg-type]
            await hooks.learnt(hook)
            await hook.receive(hooks.body(hooks.alert("web")), "alertmanager")
            await hooks.settled(hook)
            (incident,) = hook.enricher.incidents
            transport = httpx.ASGITransport(create_app(hook))
            async with httpx.AsyncClient(transport=transport, base_url="http://hook.example") as client:
                said = [{"verdict": "wrong", "origin": "catalog"}, {"verdict": "right"}]
                path = f"/incidents/{incident.id}/feedback"
                return [incident.id, *[(await client.post(path, json=each)).status_code for each in said]]

    name, *codes = asyncio.run(whole())
    assert codes == [200, 200]
    assert receiver.bodies[0]["commonAnnotations"]["hypocenter_origin_service"] == "payment"
    cases = tmp_path / "state" / "cases" / "CASES.jsonl"
    (line,) = map(json.loads, cases.read_text(encoding="utf-8").splitlines())  # the last word counts
    assert (line["case"], line["root_cause_service"], line["target"]["node"]) == (name, "payment", "web")
    done = CliRunner().invoke(app, ["evaluate", str(cases), "--ranker", "hypocenter", "-o", "json"])
    assert done.exit_code == 0, done.output
    scored = next(row for row in json.loads(done.stdout)["scores"] if row["ranker"] == "hypocenter")
    assert (scored["group"], scored["n"], scored["ac"]["1"], scored["failed"]) == ("hook", 1, 1.0, 0)
