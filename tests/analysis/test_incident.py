"""From a store to a case: the symptom that is found, the windows that are read, what is said when there is nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from small_incident import ALERT_NS, END_NS, ONSET_NS, SECOND_NS, START_NS, table, telemetry

from hypocenter.analysis.incident import case_of
from hypocenter.analysis.symptom import Felt, find_symptom
from hypocenter.errors import CaseError
from hypocenter.graph.cache import rollups
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window

ALL = Window(START_NS, END_NS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("incident") / "store", create=True)
    store.append(telemetry())
    return store


def spans(folder: Path, *rows: dict[str, Any]) -> Store:
    store = Store(folder / "store", create=True)
    base = {"name": "GET /", "kind": 2, "service": "web", "duration_ns": 10**7}
    full = [base | {"trace_id": f"{i:032x}", "span_id": f"{i:016x}"} | row for i, row in enumerate(rows)]
    store.append(Batch({"spans": table("spans", full)}))
    return store


def felt(store: Store) -> Felt | None:
    window = store.bounds("spans")
    assert window is not None
    return find_symptom(rollups(store, window), window)


def at(second: int, **more: Any) -> dict[str, Any]:
    # Calls are not all alike: a little longer and shorter by turns.
    jitter = {"duration_ns": 10**7 + second % 7 * 10**5}
    return {"start_ns": START_NS + second * SECOND_NS} | jitter | more


def test_slow_entry_is_felt_from_its_onset_on(store: Store) -> None:
    found = felt(store)
    assert found is not None
    assert (found.service, found.operation, found.signal) == ("web", "GET /checkout", "latency")
    assert abs(found.window.start_ns - ONSET_NS) <= 10 * SECOND_NS
    assert found.text.startswith("GET /checkout of web took ")


def test_incident_that_is_over_is_felt_in_its_stretch_alone(tmp_path: Path) -> None:
    rows = [at(s, **({"duration_ns": 10**8 + s % 7 * 10**6} if 200 <= s < 260 else {})) for s in range(600)]
    found = felt(spans(tmp_path, *rows))
    assert found is not None
    assert found.window == Window(START_NS + 200 * SECOND_NS, START_NS + 260 * SECOND_NS)


def test_failing_entry_is_felt_though_it_is_no_slower(tmp_path: Path) -> None:
    found = felt(spans(tmp_path, *(at(s, status=2 if s >= 240 and s % 3 == 0 else 0) for s in range(300))))
    assert found is not None
    assert (found.signal, found.text) == (
        "errors",
        "GET / of web failed in 33.3% of calls, 0.0% otherwise",
    )


def test_calls_that_fail_at_once_do_not_make_the_time_before_look_slow(tmp_path: Path) -> None:
    found = felt(
        spans(tmp_path, *(at(s, **({"status": 2, "duration_ns": 10**5} if s >= 150 else {})) for s in range(400)))
    )
    assert found is not None
    assert (found.signal, found.window.start_ns) == ("errors", START_NS + 150 * SECOND_NS)


def test_silent_entry_is_felt(tmp_path: Path) -> None:
    found = felt(spans(tmp_path, *(at(s // 4) for s in range(4 * 600) if not 300 <= s // 4 < 420)))
    assert found is not None
    assert (found.signal, found.window) == (
        "traffic",
        Window(START_NS + 300 * SECOND_NS, START_NS + 420 * SECOND_NS),
    )


def test_steady_entry_hurts_nobody(tmp_path: Path) -> None:
    assert felt(spans(tmp_path, *(at(s) for s in range(600)))) is None


def test_without_any_time_the_symptom_gives_the_alert(store: Store) -> None:
    case = case_of(store)
    assert abs(case.alert_ns - ONSET_NS) <= 10 * SECOND_NS
    assert (case.symptom.entity, case.symptom.signal, case.not_read) == ("web", "latency", ())
    assert case.telemetry.table("spans").num_rows == telemetry().table("spans").num_rows


def test_alert_time_and_symptom_that_are_given_stand(store: Store) -> None:
    case = case_of(store, at_ns=ALERT_NS, symptom="checkout")
    assert (case.alert_ns, case.symptom.entity, case.symptom.signal) == (ALERT_NS, "checkout", None)


def test_nothing_after_the_window_is_read(store: Store) -> None:
    end = ONSET_NS + 60 * SECOND_NS
    case = case_of(store, window=Window(ONSET_NS - 30 * SECOND_NS, end))
    times = case.telemetry.table("spans")["start_ns"].to_pylist()
    assert (min(times) <= START_NS + SECOND_NS, max(times) < end) == (True, True)


def test_baseline_is_read_apart(store: Store) -> None:
    quiet = Window(START_NS, START_NS + 60 * SECOND_NS)
    case = case_of(store, window=Window(ONSET_NS, END_NS), baseline=quiet)
    times = case.baseline.table("spans")["start_ns"].to_pylist()
    assert (len(set(times)) > 60, max(times) < quiet.end_ns) == (True, True)


def test_more_spans_than_memory_allows_are_sampled_by_whole_traces_and_said(
    tmp_path: Path,
) -> None:
    # Ids of this incident count up; real ones are random in their last digits.
    whole = telemetry().table("spans")
    ids = pa.array([f"{i:s}{(int(i, 16) * 40_503) % 65_536:04x}"[-32:] for i in whole["trace_id"].to_pylist()])
    mixed = whole.set_column(whole.schema.get_field_index("trace_id"), whole.schema.field("trace_id"), ids)
    other = Store(tmp_path / "store", create=True)
    other.append(Batch({"spans": mixed}))
    case = case_of(other, at_ns=ALERT_NS, most_spans=960)
    kept = case.telemetry.table("spans")
    assert 0.5 < kept.num_rows / 960 < 1.5
    assert set(kept.group_by("trace_id").aggregate([([], "count_all")])["count_all"].to_pylist()) == {8}
    assert case.not_read == (
        f"spans: {whole.num_rows - kept.num_rows:,} of {whole.num_rows:,} left out to bound memory, by whole traces",
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"at_ns": END_NS + 3600 * SECOND_NS}, "nothing around the alert's time; the store holds"),
        ({"window": Window(0, 10)}, "the window 1970.* holds nothing; the store holds 2023"),
        ({"baseline": Window(0, 10)}, "the baseline 1970.* holds nothing; the store holds 2023"),
        ({"at_ns": START_NS, "window": Window(ONSET_NS, END_NS)}, "the alert's time lies outside the window"),
    ],
)
def test_windows_without_data_say_where_the_data_is(store: Store, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(CaseError, match=said):
        case_of(store, **asked)


def test_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="the store is empty; fill it with: hypocenter ingest"):
        case_of(Store(tmp_path / "store", create=True))
