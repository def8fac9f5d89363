"""Servers that refuse, hang, lie, answer too much or partly: what is told, what is kept, and that no secret leaks."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from answering import Answer, serving
from typer.testing import CliRunner

from hypocenter.cli.main import app
from hypocenter.errors import Overloaded, SourceError
from hypocenter.tracer.batch import Batch, Tally, concat
from hypocenter.tracer.otlp.batches import evened
from hypocenter.tracer.pull import alertmanager, jaeger, prometheus, sources, tempo, zipkin
from hypocenter.tracer.pull.discovery import selectors, useful
from hypocenter.tracer.pull.polling import PullSource, put
from hypocenter.tracer.pull.seen import Seen
from hypocenter.tracer.pull.server import Access, Server, TooMuch
from hypocenter.tracer.pull.settings import Settings
from hypocenter.tracer.pull.splitting import split
from hypocenter.tracer.window import SECOND_NS, Window

T = 1_700_000_000
WINDOW = Window(T * SECOND_NS, (T + 60) * SECOND_NS)


def success(result: Any, **more: Any) -> tuple[int, Any]:
    return 200, {"status": "success", "data": {"resultType": "matrix", "result": result}, **more}


def prometheus_of(values: list[list[Any]], **more: Any) -> Answer:
    """Answer range selectors of ``up`` with those of ``values`` that they cover."""

    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        if path.endswith(("/metadata", "/query_exemplars")):
            return 404, {}
        if "[" not in params.get("query", ""):
            return success([])
        end = float(params["time"])
        begin = end - int(params["query"].split("[")[1].removesuffix("ms]")) / 1000
        inside = [one for one in values if begin <= one[0] <= end]
        return success([{"metric": {"__name__": "up", "job": "a"}, "values": inside}] if inside else [], **more)

    return answer


def pull(url: str, access: Access | None = None) -> Batch:
    return concat(prometheus.fetch(url, WINDOW, ["up"], access=access))


@pytest.mark.parametrize(
    ("status", "body", "told", "retryable"),
    [
        (401, {}, "refused with 401", False),
        (403, {}, "refused with 403", False),
        (404, b"nothing", "not found .404.*up to, not including, /api", False),
        (500, {"error": "disk on fire"}, "answered with 500: disk on fire; try again", True),
        (500, {"error": "disk\x1b[2J on\nfire"}, "500: disk\ufffd.2J on fire; try again", True),
        (502, b"\x1b]0;owned\x07 \x9b2J", "502: \ufffd.0;owned\ufffd \ufffd2J; try again", True),
        (400, {"status": "error", "error": "parse error"}, "parse error; correct the query", False),
        (200, b"<html>log in</html>", "not a Prometheus: expected JSON, got text/html", False),
        (200, {"hello": 1}, "not a Prometheus: expected status and data", False),
        (200, [], "not a Prometheus", False),
    ],
)
def test_what_a_server_answers_instead_is_told_with_a_remedy(
    status: int, body: Any, told: str, retryable: bool, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cret-token\n", encoding="utf-8")
    with (
        serving(lambda path, params: (status, body)) as url,
        pytest.raises(SourceError, match=told) as error,
    ):
        list(prometheus.fetch(url, WINDOW, access=Access(bearer_token_file=str(tmp_path / "token"))))
    assert error.value.retryable is retryable
    assert "s3cret" not in str(error.value)


def test_the_token_is_sent_and_read_anew(tmp_path: Path) -> None:
    seen: list[str] = []
    token = tmp_path / "token"

    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        seen.append(params["authorization"])
        return 200, []

    with serving(answer) as url, Server(url, Access(bearer_token_file=str(token)), "Alertmanager") as server:
        for text in ("one", "two\n"):
            token.write_text(text, encoding="utf-8")
            server.json("/api/v2/alerts")
    assert seen == ["Bearer one", "Bearer two"]


def test_a_server_that_hangs_is_given_up() -> None:
    release = threading.Event()

    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        release.wait(20)
        return 200, []

    with serving(answer) as url, pytest.raises(SourceError, match=r"no whole answer within 0\.3 s") as error:
        try:
            pull(url, Access(timeout_s=0.3))
        finally:
            release.set()
    assert error.value.retryable


def test_nobody_listens_is_told_without_the_password_of_the_address() -> None:
    with pytest.raises(SourceError, match="cannot be reached: Connection refused") as error:
        pull("http://me:hunter2@127.0.0.1:9")
    assert "hunter2" not in str(error.value) and error.value.retryable


@pytest.mark.parametrize("url", ["localhost:9090", "ftp://x", "http://", "http://a:b@h/?token=hunter2", "http://h:x"])
def test_an_address_of_another_form_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SourceError, match="expected the address of Prometheus") as error:
        pull(url)
    assert "hunter2" not in str(error.value)


def test_a_long_answer_is_cut_off_at_the_bound() -> None:
    with serving(lambda path, params: (200, b" " * 4_000_000)) as url, pytest.raises(TooMuch, match="longer than 1 M"):
        Server(url, Access(max_bytes=2**20), "Jaeger").read("/x")


def test_a_window_that_is_too_much_is_asked_for_in_pieces() -> None:
    values = [[T + second, str(second)] for second in range(60)]
    whole = prometheus_of(values)

    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        status, body = whole(path, params)
        if status == 200 and sum(len(r["values"]) for r in body["data"]["result"]) > 20:
            return 422, {"status": "error", "error": "query processing would load too many samples into memory"}
        return status, body

    with serving(answer) as url:
        batch = pull(url)
    assert batch.table("points")["value"].to_pylist() == list(range(60))
    assert batch.tally.dropped == {}


def test_what_cannot_be_made_smaller_is_counted() -> None:
    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        is_range = "[" in params.get("query", "")
        return (422, {"error": "too many samples"}) if is_range else (404, {})

    with serving(answer) as url:
        batch = pull(url)
    assert batch.tally.dropped == {"answer too large": 6}


def test_warnings_are_counted_as_partial_answers_and_what_came_is_kept() -> None:
    with serving(prometheus_of([[T, "1"]], warnings=["store gateway 2 is down"])) as url:
        batch = pull(url)
    assert batch.table("points")["value"].to_pylist() == [1.0]
    assert batch.tally.dropped["partial answer"] >= 1
    assert "store gateway 2 is down" in batch.tally.problems[0]


def test_malformed_results_are_dropped_and_the_rest_kept() -> None:
    good = {"metric": {"__name__": "up"}, "values": [[T + at, "1"] for at in range(0, 60, 15)]}
    broken: list[Any] = [{"metric": {}, "values": [[T, "x"]]}, {"values": []}, 7, {"metric": {}, "values": [[T]]}]

    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        return success([good, *broken] if "[" in params.get("query", "") else [])

    with serving(answer) as url:
        batch = concat(prometheus.fetch(url, WINDOW, ["up"], exemplars=False))
    assert batch.table("points")["value"].to_pylist() == [1.0] * 4
    assert batch.tally.dropped == {"malformed result": 4}


def test_gaps_are_nulls_after_one_interval() -> None:
    at = [0, 5, 10, 15, 40, 45]
    with serving(prometheus_of([[T + second, "1"] for second in at])) as url:
        table = pull(url).table("points").sort_by("time_ns")
    told = [(row["time_ns"] // SECOND_NS - T, row["value"]) for row in table.to_pylist()]
    assert told == [(0, 1), (5, 1), (10, 1), (15, 1), (20, None), (40, 1), (45, 1), (50, None)]


def test_useful_names_and_their_groups() -> None:
    names = ["istio_requests_total", "pg_up", "pg_settings_x", "prometheus_build_info", "http_server_duration_bucket"]
    assert useful(names) == ["http_server_duration_bucket", "istio_requests_total", "pg_up"]
    many = [f"pg_{n}" for n in range(10)]
    found = selectors(many, dict.fromkeys(many, 40), 100)
    assert len(found) == 5 and all(one.count("pg_") == 2 for one in found)


def tempo_of(traces: dict[str, int], gone: set[str]) -> Answer:
    """Answer as Tempo documents its search and trace endpoints; ``traces`` are ids with their second."""

    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        if path == "/api/search":
            first, end, limit = (int(params[key]) for key in ("start", "end", "limit"))
            found = [one for one, second in traces.items() if first <= T + second < end][:limit]
            return 200, {"traces": [{"traceID": one.lstrip("0")} for one in found], "metrics": {}}
        trace_id = path.rpartition("/")[2]
        if trace_id in gone or not path.startswith("/api/v2/traces/"):
            return 404, b"trace not found"
        span = {"traceId": trace_id, "spanId": trace_id[16:], "name": "op", "kind": "SPAN_KIND_SERVER"}
        span |= {
            "startTimeUnixNano": str((T + traces[trace_id]) * SECOND_NS),
            "endTimeUnixNano": str(T * 10**9 + 10**11),
        }
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]}
        return 200, {"trace": {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}}

    return answer


def test_tempo_is_searched_in_halves_and_asked_for_each_trace_once() -> None:
    traces = {f"{n:032x}": n % 60 for n in range(1, 241)}
    lost = f"{7:032x}"
    with serving(tempo_of(traces, {lost})) as url:
        batch = concat(tempo.fetch(url, WINDOW, limit=20))
    assert sorted(batch.table("spans")["trace_id"].to_pylist()) == sorted(set(traces) - {lost})
    assert batch.tally.dropped == {"trace gone since the search": 1}


def test_traces_within_one_second_beyond_the_limit_are_counted() -> None:
    with serving(tempo_of({f"{n:032x}": 3 for n in range(1, 31)}, set())) as url:
        batch = concat(tempo.fetch(url, WINDOW, limit=10))
    assert len(batch.table("spans")) == 10
    assert batch.tally.dropped == {"traces beyond the limit": 1}


def test_what_was_dropped_is_printed_and_is_no_error_as_for_files(tmp_path: Path) -> None:
    window = "--since", str(T), "--until", str(T + 60)
    with serving(tempo_of({f"{n:032x}": n for n in range(1, 4)}, {f"{2:032x}"})) as url:
        done = CliRunner().invoke(app, ["pull", "tempo", url, "--store", str(tmp_path / "store"), *window])
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        [f"{url}: 2 spans", "  dropped 1: trace gone since the search"],
    )


def test_zipkin_is_asked_in_halves_until_each_answer_is_whole() -> None:
    def answer(path: str, params: dict[str, str]) -> tuple[int, Any]:
        assert path == "/api/v2/traces"
        end, lookback, limit = (int(params[key]) for key in ("endTs", "lookback", "limit"))
        inside = [n for n in range(100) if end - lookback <= T * 1000 + n * 500 <= end][:limit]
        return 200, [
            [{"traceId": f"{n + 1:016x}", "id": "1", "timestamp": T * 10**6 + n * 500_000, "duration": 5}]
            for n in inside
        ]

    with serving(answer) as url:
        batch = concat(zipkin.fetch(url, WINDOW, limit=10))
    assert sorted(int(one, 16) for one in batch.table("spans")["trace_id"].to_pylist()) == list(range(1, 101))
    assert batch.tally.dropped == {}


@pytest.mark.parametrize(("fetch", "body"), [(jaeger.fetch, []), (tempo.fetch, [1]), (alertmanager.fetch, {"data": 1})])
def test_another_server_than_the_one_named_is_told(fetch: Any, body: Any) -> None:
    with serving(lambda path, params: (200, body)) as url, pytest.raises(SourceError, match=r"not an? [A-Z]"):
        list(fetch(url, WINDOW))


def test_split_covers_the_window_and_halves_what_is_full() -> None:
    times = [0, 1, 1, 1, 5, 6, 7, 30]

    def ask(piece: Window) -> tuple[list[int], int]:
        found = [at for at in times if piece.start_ns <= at < piece.end_ns][:3]
        return found, len(found)

    pieces = list(split(Window(0, 32), 1, ask, 3))
    assert [piece.start_ns for piece, _, _ in pieces][1:] == [piece.end_ns for piece, _, _ in pieces][:-1]
    assert [piece for piece, _, is_whole in pieces if not is_whole] == [Window(1, 2)]
    assert [at for _, answer, _ in pieces for at in answer or []] == times


class Held:
    """A sink that refuses the first puts."""

    def __init__(self, refusals: int = 0) -> None:
        self.batches: list[Batch] = []
        self.refusals = refusals

    def put(self, batch: Batch, timeout_s: float | None = None) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Overloaded("full", retry_after_s=0.01)
        self.batches.append(batch)


def test_rounds_overlap_and_give_each_row_once_through_failures_and_overload() -> None:
    values = [[T + second, str(second)] for second in range(30)]
    asked: list[Window] = []
    now = [T * SECOND_NS + 10 * SECOND_NS]

    def fetch(window: Window) -> Iterator[Batch]:
        asked.append(window)
        if len(asked) == 2:
            raise SourceError("down", retryable=True)
        with serving(prometheus_of(values)) as url:
            yield from prometheus.fetch(url, window, ["up"])

    stop, sink = threading.Event(), Held(refusals=2)
    source = PullSource(
        "p",
        "x",
        fetch,
        interval_s=0.01,
        overlap_ns=5 * SECOND_NS,
        since_ns=10 * SECOND_NS,
        clock=lambda: now[0],
    )
    running = threading.Thread(target=source.run, args=(sink, stop))
    running.start()
    deadline = time.monotonic() + 30
    while len(asked) < 4 and time.monotonic() < deadline:
        now[0] = max(now[0], T * SECOND_NS + (10 + 5 * len(asked)) * SECOND_NS)
        time.sleep(0.02)
    stop.set()
    running.join(30)
    assert source.health().more["reasons"] == {"SourceError": 1}
    assert asked[1].start_ns == asked[0].end_ns - 5 * SECOND_NS == asked[2].start_ns
    times = [t for batch in sink.batches for t in batch.table("points")["time_ns"].to_pylist()]
    assert len(times) == len(set(times)) and min(times) == T * SECOND_NS and len(times) >= 20


def test_seen_lets_each_row_through_once() -> None:
    with serving(prometheus_of([[T + at, "1"] for at in range(0, 60, 15)])) as url:
        batch = pull(url)
    seen = Seen()
    first, keys = seen.new(batch)
    seen.add(keys)
    again, _ = seen.new(pull_again := batch)
    assert pull_again.rows == first.rows == 5 and again.rows == 0
    seen.forget(WINDOW.end_ns)
    assert seen.new(batch)[0].table("points").num_rows == 4


def test_new_rows_are_counted_also_when_their_batch_was_cut() -> None:
    with serving(prometheus_of([[T + at, "1"] for at in range(0, 60, 15)])) as url:
        batch = pull(url)
    seen, told = Seen(), []
    for _ in range(2):
        for piece in evened([Batch(batch.tables, Tally(Counter(batch.tally.accepted)))], 2):
            rows, keys = seen.new(piece)
            seen.add(keys)
            told.append(dict(rows.tally.accepted))
    assert told == [{"series": 1, "points": 2}, {"points": 2}, {}, {}]


def test_put_stops_waiting_when_stopped() -> None:
    stop = threading.Event()
    stop.set()
    batch = Batch()
    batch.tally.drop("reason", "place")
    assert put(Held(refusals=9), batch, stop) is False


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"url": "http://h", "macth": []}, "unknown key macth; known: "),
        ({"url": "http://h", "interval": "soon"}, "interval: expected a duration such as 15s"),
        ({"url": "http://h", "match": 7}, "match: expected a list of texts"),
        ({"url": "http://h", "insecure_skip_verify": "yes"}, "insecure_skip_verify: expected bool"),
        ({"match": []}, "expected an address, or a mapping with url"),
        ({"url": "http://h", "username": "u", "bearer_token_file": "f"}, "a server takes one of them"),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(section: Any, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        sources({"prometheus": section})


def test_sections_become_sources_with_names_of_their_own() -> None:
    config = {
        "prometheus": ["http://a:9090", {"url": "http://b:9090", "name": "edge", "step": "30s"}, "http://c"],
        "jaeger": "http://j",
        "zipkin": {"listen": "127.0.0.1:9411"},
        "alertmanager": {"url": "http://am"},
        "otlp": {},
    }
    assert [one.name for one in sources(config)] == ["prometheus", "edge", "prometheus-2", "jaeger", "alertmanager"]
    settings = Settings.of("tempo", {"url": "http://t", "timeout": "5s", "tenant": "a"})
    assert (settings.access.timeout_s, settings.access.tenant, settings.overlap_ns) == (5.0, "a", 120 * SECOND_NS)
