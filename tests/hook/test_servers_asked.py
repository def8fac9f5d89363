"""At the time of an alert servers are asked, all at once; who hangs or fails is named and holds nothing up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path

import pytest
import small_incident as small
from servers_that_answer import serving

from hypocenter.errors import CaseError
from hypocenter.hook.ranking import rank
from hypocenter.hook.telemetry import case_at, known
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store

NOW_NS = small.END_NS
HELD = small.telemetry()
MANY = {"most_spans": 10**6}


@pytest.fixture
def store(tmp_path: Path) -> str:
    Store(tmp_path / "store", create=True).append(small.telemetry())
    return str(tmp_path / "store")


@pytest.fixture
def hanging() -> Iterator[str]:
    over = threading.Event()
    with serving(lambda _: over.wait(30) and None) as (url, _):
        yield url
        over.set()


def answer(handler: BaseHTTPRequestHandler, value: object, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.wfile.write(json.dumps(value).encode())


def jaeger(handler: BaseHTTPRequestHandler) -> None:
    """Answer with one trace of a service ``courier``, in the API of the UI."""
    if handler.path.startswith("/api/v3"):
        answer(handler, {}, 404)
    elif handler.path == "/api/services":
        answer(handler, {"data": ["courier"]})
    else:
        span = {"traceID": "ab", "spanID": "cd", "operationName": "GET", "references": [], "logs": [], "tags": []}
        span |= {"startTime": small.ALERT_NS // 1000, "duration": 5000, "processID": "p1"}
        process = {"p1": {"serviceName": "courier", "tags": []}}
        answer(handler, {"data": [{"traceID": "ab", "spans": [span], "processes": process}]})


def test_what_servers_hold_joins_what_the_store_holds(store: str) -> None:
    with serving(jaeger) as (url, requests):
        case = case_at({"store": store, "jaeger": url}, small.ALERT_NS, NOW_NS, "web", **MANY, ask_s=20)
    spans = case.telemetry.table("spans")
    assert set(spans["service"].to_pylist()) == {*HELD.table("spans")["service"].to_pylist(), "courier"}
    assert case.not_read == ()
    # A sample over the whole window: each piece is asked for on its own.
    starts = sorted({int(path.split("start=")[1].split("&")[0]) for path, _ in requests if "start=" in path})
    assert {b - a for a, b in pairwise(starts[1:])} == {120 * 10**6}
    assert starts[0] * 1000 == small.ALERT_NS - 30 * 60 * small.SECOND_NS


def test_servers_alone_are_enough() -> None:
    with serving(jaeger) as (url, _):
        sources = {"jaeger": url}
        case = case_at(sources, small.ALERT_NS, NOW_NS, "courier", **MANY, ask_s=20)
        names = known(sources, small.ALERT_NS + 1, ask_s=20)
    assert (case.alert_ns, case.symptom.entity) == (small.ALERT_NS, "courier")
    assert case.telemetry.table("spans")["service"].unique().to_pylist() == ["courier"]
    assert names == {"services": ["courier"], "pods": {}, "nodes": {}}


def test_who_hangs_fails_or_is_gone_is_named_and_the_rest_is_ranked_in_time(store: str, hanging: str) -> None:
    with ExitStack() as stack:
        failing, _ = stack.enter_context(serving(lambda handler: answer(handler, {"message": "no disk"}, 503)))
        with serving(jaeger) as (gone, _):
            pass
        sources = {"store": store, "prometheus": hanging, "jaeger": gone, "tempo": failing}
        begin = time.monotonic()
        finding = rank(sources=sources, at_ns=small.ALERT_NS, now_ns=NOW_NS, symptom="web", **MANY, ask_s=4.0)
        took = time.monotonic() - begin
    assert took < 15
    assert finding["origin"]["service"] == "payment"
    told = {text.split(": ", 1)[0]: text.split(": ", 1)[1] for text in finding["not_checked"]}
    assert told["prometheus"].startswith(("no whole answer within 4 s", f"{hanging}/api/v1/"))
    assert "cannot be reached" in told["jaeger"]
    assert "answered with 503: no disk" in told["tempo"]


def test_a_store_that_is_missing_is_named_where_a_server_answers(tmp_path: Path) -> None:
    lost = {"store": str(tmp_path / "none")}
    with serving(jaeger) as (url, _):
        case = case_at(lost | {"jaeger": url}, small.ALERT_NS, NOW_NS, "web", **MANY, ask_s=20)
        with pytest.raises(CaseError, match="not a hypocenter store"):
            case_at(lost | {"jaeger": "http://127.0.0.1:9"}, small.ALERT_NS, NOW_NS, "web", **MANY, ask_s=20)
    assert [text.split(":")[0] for text in case.not_read] == ["store"]


def test_what_a_collector_pulls_is_not_asked_for_again(tmp_path: Path) -> None:
    with serving(jaeger) as (url, requests):
        store = Store(tmp_path / "pulled", create=True)
        spans = small.telemetry().table("spans")
        place = spans.schema.get_field_index("source")
        pulled = spans.set_column(place, spans.schema.field(place), [[url] * spans.num_rows])
        store.append(Batch({"spans": pulled}))
        case_at({"store": str(store.path), "jaeger": url}, small.ALERT_NS, NOW_NS, "web", **MANY, ask_s=20)
    assert requests == []


def test_secrets_in_answers_are_masked(store: str) -> None:
    def telling(handler: BaseHTTPRequestHandler) -> None:
        if "traces" not in handler.path:
            return jaeger(handler)
        span = {"traceID": "ab", "spanID": "cd", "operationName": "GET password=hunter2", "references": []}
        span |= {"startTime": small.ALERT_NS // 1000, "duration": 5, "processID": "p1", "logs": [], "tags": []}
        process = {"p1": {"serviceName": "courier", "tags": []}}
        return answer(handler, {"data": [{"traceID": "ab", "spans": [span], "processes": process}]})

    with serving(telling) as (url, _):
        case = case_at({"jaeger": url}, small.ALERT_NS, NOW_NS, None, **MANY, ask_s=20)
    assert "hunter2" not in str(case.telemetry.table("spans").to_pylist())


def kubeconfig(folder: Path, url: str) -> dict[str, str]:
    named = {"name": "here", "cluster": {"server": url}, "user": {}, "context": {"cluster": "here", "user": "here"}}
    parts = {f"{part}s": [{"name": "here", part: named[part]}] for part in ("cluster", "user", "context")}
    (folder / "kubeconfig").write_text(json.dumps({**parts, "current-context": "here"}), encoding="utf-8")
    return {"kubeconfig": str(folder / "kubeconfig")}


def test_objects_of_the_cluster_are_listed_and_kinds_that_may_not_be_read_are_not_waited_for(
    store: str, tmp_path: Path
) -> None:
    def cluster(handler: BaseHTTPRequestHandler) -> None:
        if not handler.path.startswith("/api/v1/pods"):
            return answer(handler, {"message": "not you"}, 403)
        if "watch=1" in handler.path:
            return None
        pod = {"metadata": {"uid": "u1", "name": "payment-1", "namespace": "shop", "resourceVersion": "7"}}
        return answer(handler, {"metadata": {"resourceVersion": "9"}, "items": [pod | {"spec": {}, "status": {}}]})

    with serving(cluster) as (url, _):
        sources = {"store": store, "kubernetes": kubeconfig(tmp_path, url)}
        case = case_at(sources, small.ALERT_NS, NOW_NS, "web", **MANY, ask_s=20)
    assert case.telemetry.table("objects").select(["kind", "name"]).to_pylist() == [
        {"kind": "Pod", "name": "payment-1"}
    ]
    assert case.not_read == ()


def test_an_api_server_that_is_gone_is_named(store: str, tmp_path: Path) -> None:
    with serving(jaeger) as (url, _):
        pass
    sources = {"store": store, "kubernetes": kubeconfig(tmp_path, url)}
    case = case_at(sources, small.ALERT_NS, NOW_NS, "web", **MANY, ask_s=20)
    (told,) = case.not_read
    assert told.startswith("kubernetes: ")
    assert "refused" in told


def test_who_had_much_time_and_did_not_answer_is_left_alone_for_a_while(
    store: str, hanging: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hypocenter.hook.servers._MUCH_S", 0.2)
    monkeypatch.setattr("hypocenter.hook.servers._rests", {})
    sources = {"store": store, "tempo": hanging}
    told = [case_at(sources, small.ALERT_NS, NOW_NS, "web", **MANY, ask_s=s).not_read for s in (0.1, 0.2, 0.1)]
    late = ["tempo: no whole answer within 0.1 s", "tempo: no whole answer within 0.2 s"]
    assert told == [(late[0],), (late[1],), ("tempo: did not answer a moment ago",)]


def test_services_of_one_name_in_several_namespaces_are_known_as_the_graph_names_them(tmp_path: Path) -> None:
    spans = small.telemetry().table("spans")
    place = spans.schema.get_field_index("service_namespace")
    # In each namespace a web; the others in none.
    spaces = [
        ("blue", "green")[n % 2] if name == "web" else None for n, name in enumerate(spans["service"].to_pylist())
    ]
    store = Store(tmp_path / "spaces", create=True)
    store.append(Batch({"spans": spans.set_column(place, spans.schema.field(place), [spaces])}))
    found = known({"store": str(store.path)}, NOW_NS, ask_s=0)
    assert found["services"] == ["blue/web", "catalog", "checkout", "green/web", "payment"]
