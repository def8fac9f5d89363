"""What a running collector does with the servers that it pulls, and what it tells of them and of its upkeep."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answering import serving
from collecting import Running, collector
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from store_rows import spans

from hypocenter.cli.collect import Derived
from hypocenter.errors import SourceError
from hypocenter.tracer.collect.admin import application
from hypocenter.tracer.collect.lease import Lease
from hypocenter.tracer.collect.telemetry import Telemetry
from hypocenter.tracer.collect.upkeep import Round, Upkeep, UpkeepProcess, one_round
from hypocenter.tracer.otlp import JSON
from hypocenter.tracer.store import Store


def awaited(what: Callable[[], bool], seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def source(running: Running, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = running.get("/readyz").json()["sources"][name]
    return facts


def test_zipkin_that_fails_is_told_as_retrying_and_pulled_when_it_is_back(tmp_path: Path) -> None:
    now_us, is_down = time.time_ns() // 1000 - 1_000_000, [True]
    span = {"traceId": "a" * 16, "id": "b" * 16, "name": "get", "timestamp": now_us, "duration": 5, "kind": "SERVER"}

    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        if is_down[0]:
            return 500, b"down"
        until_us = 1000 * int(params["endTs"])
        is_asked = until_us - 1000 * int(params["lookback"]) <= now_us <= until_us
        return 200, [[span | {"localEndpoint": {"serviceName": "web"}}]] if is_asked else []

    with (
        serving(answer) as url,
        collector(tmp_path / "store", zipkin={"url": url, "interval": "100ms", "since": "5m"}) as running,
    ):
        assert awaited(lambda: source(running, "zipkin")["state"] == "retrying")
        told = source(running, "zipkin")
        assert "500" in told["error"]
        assert told["reasons"] == {"SourceError": told["failures"]}
        assert running.get("/readyz").status == 200
        assert running.metric("hypocenter_collect_source_failing", source="zipkin") == 1
        assert running.metric("hypocenter_collect_source_failures_total", source="zipkin") >= 1
        is_down[0] = False
        assert awaited(lambda: source(running, "zipkin")["state"] == "running")
        assert awaited(lambda: running.store.read("spans").num_rows > 0)
        told = source(running, "zipkin")
        assert (told["error"], told["pulled_until"] is not None) == (None, True)
        assert running.metric("hypocenter_collect_source_failing", source="zipkin") == 0
        time.sleep(0.5)  # further rounds overlap and store nothing twice
        assert running.store.read("spans", columns=["service"]).to_pylist() == [{"service": "web"}]


def failing_refresh(_store: Store) -> str:
    raise SourceError("no room for rollups", retryable=True)


def dying_refresh(_store: Store) -> str:
    raise SystemExit(7)


@pytest.mark.parametrize(
    ("refresh", "last"),
    [
        (failing_refresh, Round("failed", "no room for rollups")),
        (dying_refresh, Round("died", "the process ended with 7")),
    ],
)
def test_upkeep_that_fails_or_dies_is_told_and_goes_on(tmp_path: Path, refresh: Any, last: Round) -> None:
    Store(tmp_path / "store", create=True)
    outcomes: list[str] = []
    process = UpkeepProcess(tmp_path / "store", Upkeep(every_s=0.05), refresh, outcomes.append)

    def looked() -> bool:
        process.look()
        return len(outcomes) >= 2

    assert awaited(looked)
    process.stop()
    assert (set(outcomes), process.last) == ({last.outcome}, last)


def test_retention_is_done_though_compaction_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store", create=True)
    store.append(spans(1))

    def full(*_arguments: Any, **_options: Any) -> None:
        raise SourceError("no space left", retryable=True)

    monkeypatch.setattr("hypocenter.tracer.collect.upkeep.compact", full)
    found = one_round(store, Upkeep(keep_hours=1), Lease(tmp_path / "lease", 60), lambda _: "fresh")
    assert found == Round("failed", "no space left", "fresh")
    assert store.segments("spans") == []


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
@pytest.mark.parametrize("derived", ["", "# TYPE calls counter\ncalls_total 3\n# EOF\n"])
def test_metrics_of_what_was_stored_follow_our_own_in_one_text(accept: str, derived: str) -> None:
    telemetry, sent = Telemetry(), list[dict[str, Any]]()
    telemetry.accepted("door")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asked = {"type": "http", "method": "GET", "path": "/metrics", "headers": [(b"accept", accept.encode())]}
    asyncio.run(application(telemetry, lambda: (True, {}), lambda: derived)(asked, None, send))
    telemetry.close()
    text = sent[1]["body"].decode()
    assert (text.count("# EOF"), text.endswith("# EOF\n")) == (1, True)
    families = {family.name for family in text_string_to_metric_families(text)} if accept else set()
    lines = text.splitlines()
    assert ("calls_total 3" in lines, not accept or "calls" in families) == (bool(derived), not accept or bool(derived))
    assert any(line.startswith('hypocenter_collect_accepted_total{door="door"} 1') for line in lines)


def test_what_the_command_derives_is_fit_for_the_upkeep_process(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    store.append(spans(time.time_ns()))
    assert Derived.of(Upkeep(rollups=False)) is None
    for rollups, span_metrics in ((True, False), (False, True), (True, True)):
        made = Derived.of(Upkeep(rollups=rollups, span_metrics=span_metrics))
        metrics = pickle.loads(pickle.dumps(made))(store)
        assert (metrics is not None and metrics.endswith("# EOF\n")) == span_metrics


def test_two_collectors_share_a_store_and_one_of_them_keeps_it_up(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    store = Store(tmp_path / "store", create=True)
    for name in "ab":
        (tmp_path / name / "store").symlink_to(store.path)
    body = '[{"traceId": "%032x", "id": "%016x", "name": "get", "timestamp": %d, "duration": 5}]'
    with (
        collector(tmp_path / "a/store", upkeep={"every_s": 0.2}) as first,
        collector(tmp_path / "b/store", upkeep={"every_s": 0.2}) as second,
    ):
        for number in range(1, 41):
            posted = body % (number, number, time.time_ns() // 1000)
            assert (first if number % 2 else second).post("/api/v2/spans", posted, JSON).status == 202
        ids = {f"{number:016x}" for number in range(1, 41)}
        assert set(store.read("spans", columns=["span_id"])["span_id"].to_pylist()) == ids
        assert awaited(lambda: sorted(upkeep_of(one) for one in (first, second)) == ["done", "elsewhere"])
        assert awaited(lambda: len(store.segments("spans")) < 40)
        holder, other = (first, second) if upkeep_of(first) == "done" else (second, first)
        holder.end()
        assert awaited(lambda: upkeep_of(other) == "done")
    rows = store.read("spans", columns=["span_id"])["span_id"].to_pylist()
    assert (set(rows), len(rows), store.problems) == (ids, 40, [])


def upkeep_of(running: Running) -> str:
    last: str = running.get("/readyz").json()["upkeep"]["last"]
    return last
