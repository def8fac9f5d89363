"""A real Jaeger, pulled through both of its APIs: the spans that it was given, each once, whatever the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from go_peers import built, jaeger

from benchmarks.generate import span_tables
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.pull.jaeger import fetch
from hypocenter.tracer.pull.server import NotThere, Server
from hypocenter.tracer.pull.stored import store_new
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window

pytestmark = pytest.mark.timeout(2400)
GO = "Go 1.24.6 or newer builds it"
SAME = ["trace_id", "span_id", "parent_span_id", "name", "service", "start_ns", "duration_ns", "status"]


@pytest.fixture(scope="module")
def spans() -> pa.Table:
    (table,) = span_tables(1_500, services=8, seed=5, rate_per_s=200)
    return table


@pytest.fixture(scope="module")
def url(program: Callable[..., str], tmp_path_factory: pytest.TempPathFactory, spans: pa.Table) -> Iterator[str]:
    with jaeger(built("jaeger", program("go", remedy=GO)), tmp_path_factory.mktemp("jaeger"), spans) as found:
        yield found


def window_of(spans: pa.Table) -> Window:
    ends = pc.min_max(spans["start_ns"]).as_py()
    return Window(ends["min"], ends["max"] + 1)


def rows(table: pa.Table, columns: list[str]) -> list[tuple[object, ...]]:
    return sorted(zip(*(table[name].to_pylist() for name in columns), strict=True), key=str)


@pytest.mark.parametrize("limit", [500, 20])
def test_all_spans_come_once_whatever_the_limit(url: str, spans: pa.Table, limit: int) -> None:
    shares: list[float] = []
    batch = concat(fetch(url, window_of(spans), limit=limit, on_progress=shares.append))
    assert batch.tally.dropped == {}
    assert batch.tally.accepted["spans"] == len(batch.table("spans")) == len(spans)
    assert rows(batch.table("spans"), SAME) == rows(spans, SAME)
    assert shares == sorted(shares) and shares[-1] == 1


def test_the_api_of_the_ui_gives_the_same(url: str, spans: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Server.json

    def old(server: Server, path: str, *rest: object) -> object:
        if path.startswith("/api/v3"):
            raise NotThere(path)
        return read(server, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Server, "json", old)
    batch = concat(fetch(url, window_of(spans), limit=50))
    # Its times are microseconds, and a status that was not set is not told apart.
    same = ["trace_id", "span_id", "parent_span_id", "name", "service", "kind"]
    assert batch.tally.dropped == {}
    assert rows(batch.table("spans"), same) == rows(spans, same)


def test_a_part_of_the_window_gives_its_traces_whole(url: str, spans: pa.Table) -> None:
    whole = window_of(spans)
    part = Window(whole.start_ns, whole.start_ns + whole.duration_ns // 3)
    batch = concat(fetch(url, part))
    inside = spans.filter(pc.less(spans["start_ns"], part.end_ns))
    traces = pc.unique(inside["trace_id"])
    expected = spans.filter(pc.is_in(spans["trace_id"], traces))
    assert 0 < len(expected) < len(spans)
    assert rows(batch.table("spans"), SAME) == rows(expected, SAME)


def test_one_service_gives_its_traces_only(url: str, spans: pa.Table) -> None:
    service = sorted(pc.unique(spans["service"]).to_pylist())[-1]
    batch = concat(fetch(url, window_of(spans), [service]))
    traces = pc.unique(spans.filter(pc.equal(spans["service"], service))["trace_id"])
    expected = spans.filter(pc.is_in(spans["trace_id"], traces))
    assert rows(batch.table("spans"), SAME) == rows(expected, SAME)


def test_pulling_twice_adds_nothing(url: str, spans: pa.Table, tmp_path: Path) -> None:
    store, window = Store(tmp_path / "store", create=True), window_of(spans)
    pull: Callable[[], Iterator[Batch]] = partial(fetch, url, window)
    first, second = (store_new(store, url, window, pull()).accepted["spans"] for _ in range(2))
    assert (first, second) == (len(spans), 0)
    assert len(store.read("spans")) == len(spans)
