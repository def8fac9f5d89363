"""The notebook's front door: what a session answers, in which types, and how it says what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_incident as small
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_objects import at, condition, pod
from kubernetes_shop import Snapshot, changed, rows, shop

import hypocenter as hc
from hypocenter.errors import CaseError, GraphError, SourceError
from hypocenter.incident import RankedIncident
from hypocenter.moments import Moment, moment_ns
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store

ALERT = "2023-11-14T22:19:00Z"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> hc.Session:
    path = tmp_path_factory.mktemp("store")
    Store(path, create=True).append(small.telemetry())
    return hc.open(path)


@pytest.fixture(scope="module")
def incident() -> RankedIncident:
    return RankedIncident(small.ranking(), small.case())


def test_import_is_light_and_offers_its_names() -> None:
    heavy = "{'pandas', 'pyarrow', 'duckdb', 'plotly'}"
    code = f"import sys, hypocenter as hc; print({heavy} & set(sys.modules), 'open' in dir(hc))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set() True"
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        hc.opne  # noqa: B018


def test_services_counts_spans_and_series_of_each(session: hc.Session) -> None:
    services = session.services()
    assert services[["spans", "series"]].to_dict("index") == {
        "catalog": {"spans": 480, "series": 0},
        "checkout": {"spans": 960, "series": 0},
        "payment": {"spans": 960, "series": 2},
        "web": {"spans": 1440, "series": 0},
    }
    assert services.first_span["web"] == pd.Timestamp(small.START_NS, tz="UTC")
    assert str(services.last_span.dtype).endswith("UTC]")


def test_graph_of_a_window_holds_its_calls_only(session: hc.Session) -> None:
    whole = session.graph()
    part = session.graph("2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z")
    same = session.graph(hc.Window(small.START_NS, small.START_NS + 60 * 10**9))
    assert [int(g.edges["count"].sum()) for g in (whole, part, same)] == [2400, 300, 300]


def test_empty_window_says_which_one_is_not(session: hc.Session) -> None:
    with pytest.raises(SourceError, match=r"no spans in .*; the store holds spans of 2023-11-14T22:13:20Z/"):
        session.graph("-30m")
    with pytest.raises(CaseError, match="since must lie before until"):
        session.graph("2023-11-14T22:15:00Z", "2023-11-14T22:14:00Z")


def test_what_is_no_store_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="hypocenter ingest"):
        hc.open(tmp_path)
    Store(tmp_path / "new", create=True)
    with pytest.raises(SourceError, match="empty; fill it with: hypocenter ingest"):
        hc.open(tmp_path / "new").graph()


def test_ingest_makes_a_store_and_names_what_it_could_not_read(tmp_path: Path) -> None:
    good, bad = tmp_path / "metrics.csv", tmp_path / "broken.bin"
    good.write_text("time,cart_latency\n1700000000,0.5\n1700000010,0.6\n", encoding="utf-8")
    bad.write_bytes(b"\x00\x01\x02 nothing known")
    session = hc.ingest(good, tmp_path / "store")
    assert list(session.services().index) == ["cart"]
    with pytest.raises(SourceError, match=r"not read: .*broken.bin"):
        hc.ingest([good, bad], tmp_path / "store")
    assert session.services().series["cart"] == 1


def test_diff_names_the_calls_that_changed(session: hc.Session) -> None:
    middle = "2023-11-14T22:18:20Z"
    diff = session.diff(("2023-11-14T22:13:20Z", middle), (middle, "2023-11-14T22:21:20Z"))
    slower = diff.changed.query("measure == 'server_p50_s' and effect > 2")
    assert set(zip(slower.source, slower.target, strict=True)) == {
        ("checkout", "payment"),
        ("external", "web"),
        ("web", "checkout"),
    }
    assert (len(diff.appeared), len(diff.vanished)) == (0, 0)


def test_rank_names_the_slow_service_from_an_alert(session: hc.Session) -> None:
    incident = session.rank(at=ALERT)
    first = incident.ranking.candidates[0]
    assert (incident.ranking.outcome, first.service) == ("ranked", "payment")


def test_every_way_to_say_the_alert_gives_the_same_ranking(session: hc.Session) -> None:
    moments: list[Moment] = [
        ALERT,
        small.ALERT_NS // 10**9,
        datetime(2023, 11, 14, 22, 19),
        datetime(2023, 11, 15, 0, 19, tzinfo=timezone(timedelta(hours=2))),
        pd.Timestamp(ALERT),
    ]
    assert len({session.rank(at=moment).ranking for moment in moments}) == 1


def test_unknown_ranker_and_unreadable_time_name_what_is_known(session: hc.Session) -> None:
    with pytest.raises(ValueError, match="unknown ranker 'best'; known: hypocenter"):
        session.rank(at=ALERT, ranker="best")
    with pytest.raises(ValueError, match="expected RFC 3339"):
        session.rank(at="yesterday")


def test_ranking_becomes_a_frame_with_types(incident: RankedIncident) -> None:
    frame = incident.to_frame()
    assert list(frame.index) == [1, 2, 3]
    assert list(frame.entity) == ["payment", "checkout -> payment", "web"]
    assert frame.onset[1] == pd.Timestamp(small.ONSET_NS, tz="UTC") and pd.isna(frame.onset[3])
    assert frame.path[1] == "payment -> checkout -> web"
    assert (str(frame.probability.dtype), str(frame.onset.dtype)[-4:]) == ("float64", "UTC]")


def test_objects_show_themselves(session: hc.Session, incident: RankedIncident) -> None:
    assert repr(session).endswith("3,840 spans, 2 series, 192 points, 45 logs, 1 events; " + f"{session.window}>")
    assert repr(incident).splitlines()[0] == "payment (service) is very likely the origin"
    assert "payment (service) is very likely the origin" in incident._repr_html_()
    assert "<td>960</td>" in session._repr_html_()
    assert len(incident.figure().data) == 3
    assert len(incident.map().data) > 0
    assert [a.text for a in incident.timeline().layout.annotations][:2] == [
        "calls per second",
        "share of calls with errors",
    ]
    bad, good = incident.traces()
    assert max(bad.data[0].x) > 400 > 100 > max(good.data[0].x)


def test_what_the_telemetry_cannot_show_is_an_error_that_says_what_it_can(tmp_path: Path) -> None:
    without_spans = hc.RankedIncident(small.ranking(), small.case(Batch({"logs": small.telemetry().table("logs")})))
    with pytest.raises(CaseError, match="does not show the map; it shows: nothing"):
        without_spans.map()
    assert without_spans.report(tmp_path / "page.html").stat().st_size > 5000


@given(st.integers(min_value=10**18, max_value=2 * 10**18))
def test_timestamp_text_and_number_name_the_same_nanosecond(time_ns: int) -> None:
    stamp = pd.Timestamp(time_ns, tz="UTC")
    micros = time_ns // 1000 * 1000
    aware = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros // 1000)
    assert (moment_ns(stamp), moment_ns(time_ns), moment_ns(aware)) == (time_ns, time_ns, micros)
    assert moment_ns(np.int64(time_ns)) == time_ns  # type: ignore[arg-type]


def test_symptoms_are_found_with_their_times(session: hc.Session) -> None:
    found = session.symptoms()
    assert found[["service", "signal"]].to_dict("records") == [{"service": "web", "signal": "latency"}]
    assert abs(found.start[0] - pd.Timestamp(small.ONSET_NS, tz="UTC")) <= pd.Timedelta(seconds=20)


def test_traces_are_those_with_a_span_that_meets_all_conditions(session: hc.Session) -> None:
    failed = session.traces(service="payment", error=True, limit=1000)
    assert len(failed) == 45
    assert set(failed.entry) == {"web"} and (failed.errors > 0).all()
    assert failed.duration_s.is_monotonic_decreasing
    assert len(session.traces(limit=7)) == 7
    assert session.traces(longer_than_s=3600.0).empty
    assert (session.traces(service="payment", longer_than_s=0.2, limit=1000).start >= small_onset()).all()


def small_onset() -> pd.Timestamp:
    return pd.Timestamp(small.ONSET_NS, tz="UTC")


def test_trace_shows_itself_by_its_id(session: hc.Session) -> None:
    trace = session.trace(session.traces(limit=1).index[0])
    assert repr(trace).endswith("spans of 4 services>")
    assert len(trace.figure().data) and len(trace.to_frame()) == 8
    assert isinstance(trace._repr_mimebundle_(), (dict, tuple))


def test_metrics_come_as_columns_on_a_common_clock(session: hc.Session) -> None:
    everything = session.metrics()
    assert everything.columns.names == ["name", "service", "pod", "labels"] and str(everything.index.dtype).endswith(
        "UTC]"
    )
    name = everything.columns[0][0]
    assert list(session.metrics(name, service="payment").columns.get_level_values("name").unique()) == [name]
    assert session.metrics(f"{name[:3]}*").shape[1] >= 1
    with pytest.raises(SourceError, match="no series matches; it holds"):
        session.metrics("nothing_of_this_name")


def test_events_are_in_order_of_time(session: hc.Session) -> None:
    events = session.events()
    assert events.time.is_monotonic_increasing and {"kind", "service", "message"} <= set(events.columns)


def test_explain_tells_what_speaks_for_a_candidate(incident: RankedIncident) -> None:
    first = incident.ranking.candidates[0]
    by_place, by_name = incident.explain(1), incident.explain(first.entity)
    assert by_place == by_name
    assert repr(by_place).splitlines()[0] == "payment (service), 87%"
    assert by_place.to_frame().text.tolist() == [e.text for e in (*first.evidence_for, *first.evidence_against)]
    with pytest.raises(CaseError, match="no candidate 'nobody'; there are"):
        incident.explain("nobody")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> hc.Session:
    """Return a session on a cluster whose ConfigMap was edited, and whose new pod waits for its image."""

    def edit(objects: Snapshot) -> None:
        objects["ConfigMap/cart-config"]["data"]["timeout"] = "1s"
        waiting = {"name": "app", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
        conditions = [condition("PodScheduled", True, 101)]
        objects["new"] = pod("cart-new", started=100, phase="Pending", conditions=conditions, statuses=[waiting])

    store = Store(tmp_path_factory.mktemp("cluster") / "store", create=True)
    store.append(rows([(0, shop()), (100, changed(shop(), edit))]))
    return hc.open(store.path)


def test_changes_of_the_cluster_are_told_with_what_differs(cluster: hc.Session) -> None:
    found = cluster.changes(at=at(110))
    assert found.drop(columns="time").to_dict("records") == [
        {
            "object": "ConfigMap/shop/cart-config",
            "verb": "changed",
            "by": None,
            "services": "cart",
            "differences": "data.timeout: 5s -> 1s",
        }
    ]
    assert found.time[0] == pd.Timestamp(at(100), tz="UTC")
    assert cluster.changes(at(0), at(50)).empty


def test_start_of_a_pod_names_what_is_stuck(cluster: hc.Session) -> None:
    start = cluster.pod_start("cart-new")
    assert start.stuck is not None
    assert (start.stuck.name, start.stuck.component, start.stuck.note) == ("images", "kubelet, registry", "not found")
    frame = start.to_frame()
    assert frame.stage[frame.is_stuck].tolist() == ["images"] and str(frame.time.dtype) == "datetime64[ns, UTC]"
    assert "  <- stuck" in repr(start) and "  &lt;- stuck" in start._repr_html_()
    with pytest.raises(GraphError, match="no pod cart-old"):
        cluster.pod_start("cart-old")


def test_flame_lays_traces_over_each_other(session: hc.Session) -> None:
    flame = session.flame(limit=50)
    frame = flame.to_frame()
    assert repr(flame) == f"<50 traces in {len(frame)} paths>"
    entries = frame[frame.parent < 0]
    assert list(entries.service) == ["web"] and entries["count"].tolist() == [50]
    assert frame["count"].sum() == 50 * 8
    assert len(flame.figure().data[0].ids) == len(frame) + 1


def test_region_of_the_latency_heatmap_is_told_by_what_its_spans_share(session: hc.Session) -> None:
    latency = session.latency(service="payment")
    region = latency.select(since=ALERT, longer_than_s=0.2)
    inside, outside = region.sizes
    assert repr(region) == f"<{inside} spans inside a region, {outside} outside>"
    assert inside + outside == 960 and 0 < inside < 960
    told = region.to_frame()
    assert told.iloc[0].inside == 1.0 > told.iloc[0].outside
    assert len(region.figure().data) == 2 and len(region.heatmap().layout.shapes) == 1
    with pytest.raises(CaseError, match="no span lies inside the region"):
        latency.select(longer_than_s=3600)
    with pytest.raises(SourceError, match=r"no span of nobody in .*session.services"):
        session.latency(service="nobody")


@pytest.mark.parametrize("asked", [{}, {"error": True}, {"error": False}, {"shorter_than_s": 10.0}])
def test_sizes_of_a_region_are_those_that_its_attributes_were_counted_in(
    session: hc.Session, asked: dict[str, Any]
) -> None:
    region = session.latency(service="payment").select(since=ALERT, longer_than_s=0.01, **asked)
    told = region.to_frame()
    kinds = told[told.attribute == "kind"]
    # Client and server spans of one service are all there are; a side with equal shares is left out.
    assert kinds.empty or (kinds.n_inside.sum(), kinds.n_outside.sum()) == region.sizes
    assert (told.n_inside <= region.sizes[0]).all() and (told.n_outside <= region.sizes[1]).all()
    assert told.inside.tolist() == (told.n_inside / region.sizes[0]).tolist()


def test_first_graph_of_many_spans_is_of_a_sample_and_says_so_until_they_are_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path / "store", create=True).append(small.telemetry())
    session = hc.open(tmp_path / "store")
    monkeypatch.setattr("hypocenter.session._LINKED_AT_ONCE", 1000)
    first = session.graph()
    assert first.sample == 4 and " of one trace in 4: " in repr(first)
    assert ", of one trace in 4 · " in first.figure().layout.title.text
    whole = session.graph(sample=1)
    assert whole.sample == 1 and "one trace in" not in repr(whole)
    seen, there = first.coverage.spans, whole.coverage.spans
    assert there / 8 < seen < there / 2
    assert first.edges["adjusted_count"].sum() == pytest.approx(whole.edges["adjusted_count"].sum(), rel=0.3)
    # What is linked once is read from then on.
    assert session.graph().sample == 1


def test_every_answer_tells_itself_in_a_line_or_a_table(session: hc.Session, tmp_path: Path) -> None:
    before, after = ("2023-11-14T22:13:20Z", "2023-11-14T22:18:20Z"), ("2023-11-14T22:18:20Z", "2023-11-14T22:21:20Z")
    changed = session.diff(before, after)
    assert repr(changed) == (
        "<GraphDiff from 2023-11-14T22:13:20Z/2023-11-14T22:18:20Z to 2023-11-14T22:18:20Z/2023-11-14T22:21:20Z: "
        f"0 appeared, 0 vanished, {len(changed.changed)} changed>"
    )
    assert repr(session.graph().window) == "<Window 2023-11-14T22:13:20Z/2023-11-14T22:21:20Z>"
    done = session.batch(tmp_path / "out")
    assert repr(done) == f"<Pass: 1 hours analysed, 0 unchanged; 1 incidents; {tmp_path / 'out' / 'index.html'}>"
    assert "<th>symptom</th>" in done._repr_html_()
    assert list(done.figure().data[0].customdata) == ["payment"]
    assert done.to_frame().equals(done.incidents)


def test_rows_draw_themselves(session: hc.Session) -> None:
    figure = session.logs(service="payment").figure()
    (line,) = figure.data
    assert sum(line.y) == 45
    assert re.fullmatch(r"logs in \d+ s", figure.layout.annotations[0].text)
    assert session.spans(service="payment").figure().data[0].type == "heatmap"
    assert session.figure().layout.title.text == session.graph().figure().layout.title.text


def test_only_what_people_use_is_offered_on_tab() -> None:
    assert dir(hc) == sorted(hc.__all__)


def test_sample_of_less_than_one_trace_is_refused(session: hc.Session) -> None:
    with pytest.raises(ValueError, match="one trace in 1 or more, got sample=0"):
        session.graph(sample=0)


def test_every_answer_draws_itself(session: hc.Session, incident: RankedIncident) -> None:
    answers = [session.services(), session.symptoms(), session.traces(), session.events(), session.graph()]
    more = [session.latency(), session.flame(), incident, incident.explain(1)]
    drawn = [sum(len(trace.x if hasattr(trace, "x") else trace.ids) for trace in a.figure().data) for a in answers]  # type: ignore[attr-defined]
    assert [count > 0 for count in drawn] == [True] * len(answers)
    assert [len(one.figure().data) > 0 for one in more] == [True] * len(more)  # type: ignore[attr-defined]
    assert [trace.type for trace in incident.propagation().data] == ["sankey"]
    metrics = session.metrics(service="payment").figure(onset=small.ONSET_NS, marks={"alert": ALERT})
    assert [a.text for a in metrics.layout.annotations if a.text in ("onset", "alert")] == ["onset", "alert"]
    assert [shape.type for shape in metrics.layout.shapes].count("rect") > 0


def test_selection_of_rows_draws_itself_and_a_selection_of_columns_says_what_it_lacks(session: hc.Session) -> None:
    traces = session.traces()
    assert len(traces[traces.errors > 0].figure().data) > 0
    with pytest.raises(CaseError, match="without the columns duration_s"):
        traces[["start", "errors"]].figure()


def test_states_and_changes_of_the_cluster_draw_themselves(cluster: hc.Session) -> None:
    states = cluster.states()
    new = states[states.object == "Pod/shop/cart-new"]
    assert new[["state", "is_bad"]].to_dict("records") == [{"state": "ErrImagePull", "is_bad": True}]
    assert len(states.figure(cluster.events(), {"edit": at(100)}).data) >= 2
    assert len(cluster.changes().figure().data) == 1


ALERTED = {"labels": {"alertname": "Slow", "service": "web"}, "startsAt": ALERT, "endsAt": "2023-11-14T22:20:00Z"}


def test_alert_is_a_moment_a_window_and_a_symptom(session: hc.Session) -> None:
    body = {"version": "4", "alerts": [ALERTED | {"status": "firing"}, {"startsAt": "2023-11-14T22:00:00Z"}]}
    assert moment_ns(ALERTED) == small.ALERT_NS
    assert moment_ns(body) == moment_ns("2023-11-14T22:00:00Z")
    assert session.graph(ALERTED | {"status": "resolved"}).window == session.graph(ALERT, "2023-11-14T22:20:00Z").window
    ranked = session.rank(at=ALERTED)
    assert (ranked.case.symptom.entity, ranked.ranking.candidates[0].service) == ("web", "payment")
    with pytest.raises(ValueError, match="an alert says in startsAt"):
        moment_ns({"labels": {}})


def test_open_needs_a_store_or_a_server() -> None:
    with pytest.raises(SourceError, match="say the path of a store, or prometheus="):
        hc.open()
    with pytest.raises(SourceError, match=r"127.0.0.1:9"):
        hc.open(prometheus="http://127.0.0.1:9")


def test_series_of_one_pod_are_told_apart_by_their_labels(tmp_path: Path) -> None:
    def listed(route: str, status: str) -> dict[str, object]:
        labels = [("http.route", f'"{route}"'), ("status", f'"{status}"'), ("host", '"a"')]
        row = {"name": "requests", "kind": "gauge", "service": "web", "pod": "web-1", "attributes": labels}
        return row | {"series_id": f"{route} {status}"}

    series = [listed("/", "200"), listed("/cart", "200"), listed("/cart", "500")]
    samples = [
        {"series_id": one["series_id"], "time_ns": small.START_NS + s * 10**9, "value": float(s)}
        for one in series
        for s in range(0, 50, 5)
    ]
    store = Store(tmp_path, create=True)
    store.append(Batch({"series": small.table("series", series), "points": small.table("points", samples)}))
    metrics = hc.Session(store).metrics()
    told = ["http.route=/ status=200", "http.route=/cart status=200", "http.route=/cart status=500"]
    assert list(metrics.columns.get_level_values("labels")) == told
    assert [trace.name for trace in metrics.figure().data] == told
