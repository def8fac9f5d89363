"""The hook's own work as a trace: what an alert waited for, sent to an OTLP endpoint."""

from __future__ import annotations

import asyncio
import gzip
import sys
from pathlib import Path

import hooks
import httpx

sys.path[:0] = [str(Path(__file__).parents[1] / "real")]

import hook_chain as chain  # noqa: E402

from hypocenter.hook.app import create_app  # noqa: E402
from hypocenter.tracer.batch import concat  # noqa: E402
from hypocenter.tracer.otlp import decode_traces  # noqa: E402


def test_receiving_enriching_ranking_and_each_delivery_are_one_trace(tmp_path: Path) -> None:
    answers = iter([503, 200])
    receiver = hooks.Receiver(lambda _: httpx.Response(next(answers)))

    async def whole(otlp: str) -> None:
        async with hooks.hook(tmp_path, receiver, otlp=otlp) as hook:
            await hooks.learnt(hook)
            transport = httpx.ASGITransport(create_app(hook))
            async with httpx.AsyncClient(transport=transport, base_url="http://hook.example") as client:
                await client.post("/alertmanager", content=hooks.body(hooks.alert()))
            await hooks.settled(hook)

    with chain.Listener() as endpoint:
        asyncio.run(whole(endpoint.url))
    sent = [gzip.decompress(b) if h.get("content-encoding") == "gzip" else b for _, h, b in endpoint.got]
    spans = concat(decode_traces(body, "application/x-protobuf", "test") for body in sent).table("spans").to_pylist()
    names = {span["span_id"]: span["name"] for span in spans}
    calls = sorted((span["name"], names.get(span["parent_span_id"])) for span in spans)
    assert calls == [
        ("deliver", "receive"),
        ("deliver", "receive"),
        ("enrich", "receive"),
        ("rank", "enrich"),
        ("receive", None),
    ]
    assert len({span["trace_id"] for span in spans}) == 1
    assert {span["service"] for span in spans} == {"hypocenter-hook"}
