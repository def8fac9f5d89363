"""A real Prometheus, pulled: what the exporter served is what the store holds, each sample once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scraped import BUCKETS, GONE_AT, PASSWORD, RESET_AT, SPAN_ID, TRACE_ID, Scraped, host_name, scraped, wait

from hypocenter.errors import SourceError
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.pull import prometheus, sources
from hypocenter.tracer.pull.prometheus import Client, fetch
from hypocenter.tracer.pull.server import Access
from hypocenter.tracer.pull.stored import store_new
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import SECOND_NS, Window

pytestmark = pytest.mark.timeout(300)
SCRAPES = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, program: Callable[..., str]) -> Iterator[Scraped]:
    with scraped(tmp_path_factory.mktemp("prometheus"), program, SCRAPES) as found:
        yield found


@pytest.fixture(scope="module")
def window(server: Scraped) -> Window:
    # Ends in the past, so that every pull sees the same.
    return Window(server.since_ns, time.time_ns() - 2 * SECOND_NS)


@pytest.fixture(scope="module")
def pulled(server: Scraped, window: Window) -> pd.DataFrame:
    return frame(concat(fetch(server.url, window, access=server.access)))


def frame(batch: Batch) -> pd.DataFrame:
    """Return name, labels, identity, time and sample of each point, in order of time."""
    series = batch.table("series").to_pandas()
    series["labels"] = [{key: json.loads(value) for key, value in pairs} for pairs in series["attributes"]]
    points = batch.table("points").to_pandas()
    return points.merge(series, on="series_id").sort_values("time_ns", ignore_index=True)


def samples(found: pd.DataFrame, name: str) -> list[float]:
    return found[(found["name"] == name) & found["value"].notna()]["value"].tolist()


def test_a_counter_comes_as_it_was_served_through_its_reset(server: Scraped, pulled: pd.DataFrame) -> None:
    served = [one["http_requests_total"] for one in server.exporter.served]
    found = samples(pulled, "http_requests_total")
    assert len(found) > RESET_AT
    assert found == served[: len(found)]
    assert found[RESET_AT] < found[RESET_AT - 1]
    grown = sum(b - a if b >= a else b for a, b in pairwise(found))
    assert grown == sum(range(2, len(found) + 1))


def test_a_series_that_ends_is_told_once_by_a_null(pulled: pd.DataFrame) -> None:
    found = pulled[pulled["name"] == "process_open_fds"].query("service == 'web'")
    assert found["value"].tolist()[:GONE_AT] == list(range(GONE_AT))
    assert found["value"].isna().tolist() == [False] * GONE_AT + [True]
    steps = found["time_ns"].diff().iloc[1:] / SECOND_NS
    assert (steps.between(0.5, 1.5)).all()


def test_the_parts_of_a_histogram_become_points_with_exemplars(pulled: pd.DataFrame) -> None:
    found = pulled[pulled["name"] == "http_request_duration_seconds"]
    points = [json.loads(text) for text in found["histogram"]]
    assert len(points) > RESET_AT
    counts = [(point["count"], point["bucket_counts"]) for point in points]
    numbers = [n + 1 if n < RESET_AT else n + 1 - RESET_AT for n in range(len(points))]
    assert counts == [(n, [0, n, 0, 0]) for n in numbers]
    assert {tuple(point["explicit_bounds"]) for point in points} == {BUCKETS}
    assert set(found["kind"]) == {"histogram"}
    noted = [one for point in points for one in point.get("exemplars", ())]
    assert {(one["trace_id"], one["span_id"], one["value"]) for one in noted} == {(TRACE_ID, SPAN_ID, 0.3)}


def test_a_native_histogram_is_one_of_explicit_bounds(pulled: pd.DataFrame) -> None:
    found = pulled[pulled["name"] == "rpc_server_duration"]
    assert len(found) > RESET_AT
    expected = {"count": 8, "sum": 20.0, "explicit_bounds": [1.0, 2.0, 4.0], "bucket_counts": [0, 3, 5, 0]}
    assert [json.loads(text) for text in found["histogram"]] == [expected] * len(found)


def test_series_are_mapped_to_service_pod_and_node(pulled: pd.DataFrame) -> None:
    def told(name: str) -> list[tuple[Any, ...]]:
        rows = pulled[pulled["name"] == name][["service", "pod", "node"]].drop_duplicates()
        return [tuple(None if pd.isna(value) else value for value in row) for row in rows.itertuples(index=False)]

    assert told("container_memory_working_set_bytes") == [("cart", "cart-abc-1", "node-7")]
    assert told("kube_deployment_status_replicas") == [("cart", None, None)]
    assert told("node_load1") == [(None, None, host_name())]
    assert told("http_requests_total") == [("web", None, None)]


def test_types_come_from_the_metadata(pulled: pd.DataFrame) -> None:
    kinds = pulled.drop_duplicates("name").set_index("name")[["kind", "temporality", "monotonic"]]
    assert kinds.loc["http_requests_total"].tolist() == ["sum", "cumulative", True]
    assert kinds.loc["node_load1"].tolist()[0] == "gauge"


def test_steps_are_those_of_the_server_at_whole_multiples(server: Scraped, window: Window) -> None:
    query = 'sum(rate(http_requests_total{job="shop/web"}[3s]))'
    found = frame(concat(fetch(server.url, window, [query], 2 * SECOND_NS, access=server.access)))
    found = found[found["value"].notna()]
    assert (found["time_ns"] % (2 * SECOND_NS) == 0).all()
    with Client(server.url, server.access) as client:
        theirs = client.range(query, window.start_ns // 10**10 * 10**10, window.end_ns, 2 * SECOND_NS)[0]["values"]
    expected = [(at * SECOND_NS, float(value)) for at, value in theirs if window.start_ns <= at * SECOND_NS]
    assert list(zip(found["time_ns"], found["value"], strict=True)) == expected


def test_pulling_twice_adds_nothing(server: Scraped, window: Window, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    pull = [store_new(store, server.url, window, fetch(server.url, window, access=server.access)) for _ in range(2)]
    assert pull[0].accepted["points"] == sum(segment.rows for segment in store.segments("points")) > 100
    assert +pull[1].accepted == {}
    assert pull[0].dropped == {}


def test_small_pieces_give_the_same_as_one(
    server: Scraped, window: Window, pulled: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = '{job="shop/web", __name__!~".*_created"}'
    monkeypatch.setattr(prometheus, "_SCRAPE_NS", SECOND_NS)
    monkeypatch.setattr(prometheus, "_SAMPLES", 1)
    monkeypatch.setattr(prometheus, "_SHORTEST_NS", 2 * SECOND_NS)
    shares: list[float] = []
    batch = concat(fetch(server.url, window, [query], access=server.access, on_progress=shares.append))
    assert len(shares) > 5 and shares == sorted(shares) and shares[-1] == 1
    assert batch.tally.dropped == {}
    keys = ["series_id", "time_ns"]
    whole = pulled[pulled["service"].isin(["web"])]
    found = frame(batch)
    common = whole.merge(found, on=keys, suffixes=("", "_small"))
    assert len(common) == len(whole) > 30
    for column in ("value", "histogram"):
        assert common[column].equals(common[f"{column}_small"])


def test_a_running_pull_stores_each_sample_once_over_a_restart(server: Scraped, tmp_path: Path) -> None:
    section = {
        "url": server.url,
        "match": ["http_requests_total"],
        "interval": "500ms",
        "overlap": "3s",
        "since": "1m",
        "username": server.access.username,
        "password_file": server.access.password_file,
        "ca_file": server.access.ca_file,
    }
    store = Store(tmp_path / "store", create=True)

    class Sink:
        def put(self, batch: Batch, timeout_s: float | None = None) -> None:
            store.append(batch)

    def stored() -> list[float]:
        table = store.read("points").to_pandas().dropna(subset="value").sort_values("time_ns")
        return table["value"].tolist()

    for _ in range(2):
        stop, before = threading.Event(), len(stored())
        (source,) = sources({"prometheus": section, "store": tmp_path / "store"})
        running = threading.Thread(target=source.run, args=(Sink(), stop))
        running.start()
        wait(lambda at=before: len(stored()) >= at + 4)
        stop.set()
        running.join(30)
        assert not running.is_alive()
    found = stored()
    served = [one["http_requests_total"] for one in server.exporter.served]
    assert found == served[: len(found)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"password_file": None}, "refused with 401"),
        ({"username": None}, "refused with 401"),
        ({"ca_file": None}, "TLS failed"),
        ({"ca_file": "/nowhere"}, "/nowhere"),
        ({"password_file": "/nowhere"}, "/nowhere: the credential cannot be read"),
    ],
)
def test_what_keeps_us_out_is_named_without_the_password(
    server: Scraped, window: Window, change: dict[str, Any], told: str
) -> None:
    access: Access = replace(server.access, **change)
    with pytest.raises(SourceError, match=told) as error:
        list(fetch(server.url.replace("//", f"//someone:{PASSWORD.replace(' ', '%20')}@"), window, access=access))
    assert "sesame" not in str(error.value) and not error.value.retryable
