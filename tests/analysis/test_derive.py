"""Cases with telemetry taken away, quiet windows, and whether probabilities are honest."""

from dataclasses import replace
from pathlib import Path

import networkx as nx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from hypocenter.analysis.case import Case, Symptom
from hypocenter.analysis.evaluation.calibration import calibrate
from hypocenter.analysis.evaluation.cases import CaseReader, LabelledCase
from hypocenter.analysis.evaluation.derive import derived, drop_spans, quiet_cases, uninstrumented, without
from hypocenter.analysis.evaluation.rename import renamed
from hypocenter.analysis.evaluation.runner import Prediction
from hypocenter.analysis.ranking import Candidate, Ranking
from hypocenter.tracer.batch import Batch, table_of
from hypocenter.tracer.schema import LOGS, POINTS, SERIES, SPANS


def spans(n: int, service: str = "web") -> pa.Table:
    row = dict.fromkeys(SPANS.names) | {"trace_id": "t", "name": "op", "kind": 0, "status": 0, "duration_ns": 1}
    row |= {"adjusted_milli": 1000, "source": "test", "service": service}
    return pa.Table.from_pylist([row | {"span_id": f"{service}{i}", "start_ns": i * 10} for i in range(n)], SPANS)


LOG = dict.fromkeys(LOGS.names) | {"time_ns": 1, "severity": 9, "body": "hello", "source": "test", "service": "web"}
CASE = Case(
    Batch({"spans": pa.concat_tables([spans(1000), spans(10, "cart")]), "logs": pa.Table.from_pylist([LOG], LOGS)}),
    alert_ns=500,
    baseline=Batch({"spans": spans(101)}),
)


def labelled(name: str = "c", answers: frozenset[str] | None = frozenset({"web"})) -> LabelledCase:
    inputs = {"inject_time_epoch_s": 1, "paths": {}, "baseline": {"traces": ["quiet.csv"]}}
    return LabelledCase(name, "shop", "cpu", answers, inputs, Path())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold a quiet recording of 101 spans in a microsecond, and one of eleven hourly points."""
    hour_ns = 3600 * 10**9
    series = dict.fromkeys(SERIES.names) | {"series_id": "s", "name": "x", "kind": "gauge", "source": "test"}
    points = {"series_id": "s", "time_ns": [i * hour_ns for i in range(11)], "value": 1.0}
    pq.write_table(spans(101), tmp_path / "quiet.parquet")
    pq.write_table(pa.Table.from_pylist([series], SERIES), tmp_path / "series.parquet")
    pq.write_table(table_of(POINTS, points, 11), tmp_path / "points.parquet")
    return tmp_path


def with_baseline(folder: Path, name: str, baseline: dict[str, list[str]]) -> LabelledCase:
    return replace(labelled(name), inputs={"inject_time_epoch_s": 1, "paths": {}, "baseline": baseline}, root=folder)


QUIET = {"traces": ["quiet.parquet"]}


def test_modality_is_taken_from_incident_and_baseline() -> None:
    changed = without("traces")(CASE)
    assert (changed.telemetry.rows, changed.telemetry.table("logs").num_rows, changed.baseline.rows) == (1, 1, 0)


def test_service_loses_its_own_telemetry_only() -> None:
    changed = without("service=web")(CASE)
    assert changed.telemetry.table("spans")["service"].unique().to_pylist() == ["cart"]
    assert (changed.telemetry.table("logs").num_rows, changed.baseline.table("spans").num_rows) == (0, 0)


def test_unknown_modality_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="traces, metrics, logs, events or service=NAME, got 'smoke'"):
        without("smoke")


def test_dropped_spans_are_the_same_in_every_case_and_about_the_share() -> None:
    lost = drop_spans(0.3)(CASE).telemetry.table("spans")
    again = drop_spans(0.3)(replace(CASE, alert_ns=1)).telemetry.table("spans")
    assert lost.equals(again)
    assert 0.6 < lost.num_rows / 1010 < 0.8
    assert drop_spans(0.3, seed=1)(CASE).telemetry.table("spans").num_rows != lost.num_rows


def test_each_quiet_recording_gives_five_windows_that_carry_no_fault(folder: Path) -> None:
    found = list(quiet_cases([with_baseline(folder, name, QUIET) for name in "ab"]))
    assert [(c.name, c.answers) for c in found] == [(f"quiet-1-{s}%", frozenset()) for s in (30, 40, 50, 60, 70)]
    assert found[1].derive is not None
    made = found[1].derive(CASE)
    assert (made.alert_ns, made.telemetry, made.baseline.rows) == (400, CASE.baseline, 0)


def test_long_quiet_recording_gives_a_window_an_hour_and_is_the_baseline_of_each(folder: Path) -> None:
    hour_ns = 3600 * 10**9
    files = {"metrics": ["series.parquet", "points.parquet"]}
    found = list(quiet_cases([with_baseline(folder, "a", files)]))
    assert [c.name for c in found] == [f"quiet-1-{5 + 10 * i}%" for i in range(10)]
    made = CaseReader().read(found[3])
    near, far = (part.table("points")["time_ns"].to_numpy() / hour_ns for part in (made.telemetry, made.baseline))
    assert (made.alert_ns / hour_ns, near.tolist(), far.tolist()) == (3.5, [3], [0, 1, 2, 4, 5, 6, 7, 8, 9, 10])


def test_what_precedes_a_fault_is_a_quiet_window_where_there_is_no_quiet_recording() -> None:
    def without_baseline(name: str, answers: frozenset[str] | None) -> LabelledCase:
        return replace(
            labelled(name, answers), inputs={"inject_time_epoch_s": 1, "paths": {"traces": "t"}, "baseline": {}}
        )

    fault, calm, blind = (without_baseline(*c) for c in (("a", frozenset({"web"})), ("b", frozenset()), ("c", None)))
    (window,) = quiet_cases([fault, calm, blind])
    assert (window.name, window.answers, window.fault_type) == ("before-a", frozenset(), "none")
    assert window.derive is not None
    made = window.derive(replace(CASE, baseline=Batch()))
    # Spans last 1 ns and begin every 10 ns: the one that begins at 500, when the fault does, is not part of it.
    of_web = made.telemetry.table("spans").filter(pc.equal(made.telemetry.table("spans")["service"], "web"))
    assert (made.alert_ns, of_web["start_ns"].to_pylist()) == (250, list(range(0, 500, 10)))
    assert made.telemetry.table("logs").equals(CASE.telemetry.table("logs"))


def test_changes_come_after_what_a_case_is_derived_by(folder: Path) -> None:
    (quiet, *_) = quiet_cases([with_baseline(folder, "a", QUIET)])
    changed = derived(quiet, [without("traces")])
    assert changed.derive is not None
    assert (changed.derive(CASE).telemetry.rows, changed.derive(CASE).alert_ns) == (0, 300)


def test_calibration_compares_what_was_said_with_what_came_true() -> None:
    def said(probability: float, right: bool) -> Prediction:
        first = Candidate("web" if right else "cart", "service", "web" if right else "cart", probability)
        return Prediction(labelled(), Ranking("x", "ranked", (first,)), 0.0, 0)

    (row,) = calibrate([said(0.2, False), said(0.4, False), said(0.6, True), said(0.8, True), said(1.0, True)])
    assert row.bins == ((0.2, 0.0, 1), (0.4, 0.0, 1), (0.6, 1.0, 1), (0.8, 1.0, 1), (1.0, 1.0, 1))
    assert (row.error, row.brier) == (pytest.approx(0.24), pytest.approx(0.08))


def test_blind_cases_and_rankers_without_probabilities_are_not_calibrated() -> None:
    blind = Prediction(labelled(answers=None), Ranking("x", "ranked", (Candidate("a", "service", "a", 0.5),)), 0.0, 0)
    silent = Prediction(labelled(), Ranking("y", "ranked", (Candidate("a", "service", "a", None),)), 0.0, 0)
    assert calibrate([blind, silent]) == []


def test_service_without_instrumentation_sends_no_spans_and_no_logs() -> None:
    changed = uninstrumented("web")(CASE)
    assert changed.telemetry.table("spans")["service"].unique().to_pylist() == ["cart"]
    assert (changed.telemetry.table("logs").num_rows, changed.baseline.table("spans").num_rows) == (0, 0)


def test_renamed_services_have_the_same_opaque_names_in_telemetry_graph_symptom_and_label() -> None:
    series = {"series_id": "web/cpu", "name": "cpu", "kind": "gauge", "service": "web", "peer": "cart", "source": "t"}
    tables = {
        "series": pa.Table.from_pylist([dict.fromkeys(SERIES.names) | series], SERIES),
        "points": pa.Table.from_pylist([{"series_id": "web/cpu", "time_ns": 1, "value": 1.0}], POINTS),
    }
    given = replace(
        CASE,
        telemetry=replace(CASE.telemetry, tables=CASE.telemetry.tables | tables),
        symptom=Symptom("web", "latency"),
        topology=nx.DiGraph([("web", "cart")]),
    )
    changed = renamed(labelled(answers=frozenset({"web", "cart"})), 1)
    assert changed.answers is not None
    assert changed.derive is not None
    case = changed.derive(given)
    web, cart = case.symptom.entity, case.telemetry.table("series")["peer"][0].as_py()
    assert changed.answers == {web, cart}
    assert not {"web", "cart"} & changed.answers
    assert list(case.topology.edges) == [(web, cart)]
    assert case.telemetry.table("spans")["service"].to_pylist() == [web] * 1000 + [cart] * 10
    assert case.telemetry.table("logs")["service"].to_pylist() == [web]
    ids = [case.telemetry.table(signal)["series_id"][0].as_py() for signal in ("series", "points")]
    assert ids[0] == ids[1] != "web/cpu"
    assert {signal: table.schema for signal, table in case.telemetry.tables.items()} == {
        signal: table.schema for signal, table in given.telemetry.tables.items()
    }
    assert renamed(labelled(), 2).answers != renamed(labelled(), 1).answers
