"""The batch job: incidents of a period found, ranked and written once, whatever is cut and run again."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from small_incident import ONSET_NS, START_NS, telemetry
from typer.testing import CliRunner

from hypocenter.batch import hour, run, sweep
from hypocenter.cli.main import app
from hypocenter.errors import SourceError
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import HOUR_NS, Window

SECOND_NS = 10**9


def test_pass_names_the_origin_of_an_incident_and_writes_its_tables(store: Store, tmp_path: Path) -> None:
    done = run(store, tmp_path / "out")
    incident = done.incidents.iloc[0]
    assert (len(done.incidents), incident.outcome, incident.service, incident.symptom) == (
        1,
        "ranked",
        "payment",
        "web",
    )
    assert abs(incident.start.value - ONSET_NS) <= 20 * SECOND_NS
    tables = {path.stem: pd.read_parquet(path) for path in sorted((tmp_path / "out").glob("*.parquet"))}
    assert sorted(tables) == ["candidates", "coverage", "edges", "incidents", "offenders", "reliability"]
    assert tables["offenders"][["origin", "incidents"]].to_dict("records") == [{"origin": "payment", "incidents": 1}]
    assert tables["coverage"].spans.sum() == telemetry().table("spans").num_rows
    worst = tables["reliability"].iloc[0]
    assert worst.errors > 0 and worst.error_share == worst.errors / worst.calls
    assert (tmp_path / "out" / "reports" / f"{incident.incident}.html").stat().st_size > 1_000_000


def test_second_pass_over_the_same_data_skips_every_hour_and_says_the_same(store: Store, tmp_path: Path) -> None:
    first, second = run(store, tmp_path / "out"), run(store, tmp_path / "out")
    assert (second.analysed, second.skipped) == (0, first.analysed)
    pd.testing.assert_frame_equal(first.incidents, second.incidents)


def test_hour_with_new_data_is_analysed_again(store: Store, tmp_path: Path) -> None:
    run(store, tmp_path / "out")
    store.append(telemetry(suspect="late"), arrived_ns=START_NS)
    assert run(store, tmp_path / "out").analysed > 0


def test_pass_that_was_cut_goes_on_where_it_ended(store: Store, tmp_path: Path) -> None:
    def cut(_done: int, _total: int, step: str) -> None:
        if step.startswith("ranked"):
            raise KeyboardInterrupt

    later = telemetry(suspect="late")
    spans = later.table("spans")
    moved = spans.set_column(
        spans.schema.get_field_index("start_ns"), spans.schema.field("start_ns"), [_plus(spans["start_ns"], HOUR_NS)]
    )
    store.append(type(later)({"spans": moved}), arrived_ns=START_NS)
    with pytest.raises(KeyboardInterrupt):
        run(store, tmp_path / "out", progress=cut)
    assert run(store, tmp_path / "out").skipped == 1


def _plus(column, ns: int):
    import pyarrow.compute as pc

    return pc.add(column, ns).combine_chunks()


def test_hour_that_cannot_be_analysed_is_named_and_tried_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no such thing")

    with monkeypatch.context() as patched:
        patched.setattr(sweep, "analyse", broken)
        done = run(store, tmp_path / "out")
    assert [line.split(": ", 1)[1] for line in done.failed] == ["ValueError: no such thing"] * len(done.failed)
    assert done.failed and done.analysed == 0
    assert run(store, tmp_path / "out").failed == ()


def test_store_without_spans_in_the_window_is_an_error_that_names_what_it_holds(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no spans in 1970.*it holds 2023-11-14"):
        run(store, tmp_path / "out", Window(0, HOUR_NS))


def test_hour_that_meets_what_passes_is_tried_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unanswered(*_: object, **__: object) -> None:
        raise SourceError("the storage does not answer", retryable=True)

    def broken(*_: object) -> None:
        raise RuntimeError("no such thing")

    for module, name, instead, told in (
        (hour, "case_of", unanswered, "SourceError: the storage does not answer"),
        (sweep, "fill", broken, "RuntimeError: no such thing"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, instead)
            done = run(store, tmp_path / "out")
        assert (done.analysed, done.failed) == (0, (f"2023-11-14T22: {told}",))
    assert run(store, tmp_path / "out").incidents.outcome.to_list() == ["ranked"]


def test_page_escapes_telemetry_and_loads_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    store.append(telemetry(suspect="<script>alert(1)</script>"), arrived_ns=START_NS)
    page = Path(run(store, tmp_path / "out").page).read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page and "http" not in page.split("</style>")[1]


def test_command_prints_incidents_and_exits_as_asked(store: Store, tmp_path: Path) -> None:
    asked = ["batch", "--store", str(store.path), "--out", str(tmp_path / "out")]
    text = CliRunner().invoke(app, [*asked, "--exit-code"])
    assert text.exit_code == 3 and "payment (service)" in text.stdout
    found = json.loads(CliRunner().invoke(app, [*asked, "-o", "json"]).stdout)
    assert (found["skipped"] > 0, [i["service"] for i in found["incidents"]]) == (True, ["payment"])


def test_links_lead_from_each_report_into_the_users_tools(store: Store, tmp_path: Path) -> None:
    asked = ["batch", "--store", str(store.path), "--out", str(tmp_path / "out"), "-o", "json"]
    linked = [*asked, "--link", "Jaeger=http://jaeger:16686/trace/{trace_id}", "--link", "Shop=http://shop/{service}"]
    found = [json.loads(CliRunner().invoke(app, options).stdout) for options in (asked, linked, linked)]
    assert [(one["analysed"], one["skipped"]) for one in found] == [(1, 0), (1, 0), (0, 1)]
    (report,) = (tmp_path / "out" / "reports").glob("*.html")
    text = report.read_text(encoding="utf-8")
    assert 'href="http://shop/payment"' in text and 'href="http://jaeger:16686/trace/' in text


def test_link_that_cannot_be_filled_in_or_has_no_report_is_a_usage_error(store: Store, tmp_path: Path) -> None:
    asked = ["batch", "--store", str(store.path), "--out", str(tmp_path / "out"), "--link"]
    alerts = tmp_path / "alerts.csv"
    alerts.write_text("time\n2023-11-14T22:19:00Z\n")
    for options, says in (
        (["Jaeger=http://jaeger/{span}"], "unknown {span}"),
        (["Shop=http://shop/{service}", "--alerts", str(alerts)], "--alerts writes none"),
    ):
        done = CliRunner().invoke(app, [*asked, *options])
        assert done.exit_code == 2
        assert says in " ".join(done.stderr.replace("│", " ").split())


def test_interval_that_is_none_is_a_usage_error(store: Store, tmp_path: Path) -> None:
    asked = ["batch", "--store", str(store.path), "--out", str(tmp_path / "out"), "--every", "soon"]
    assert CliRunner().invoke(app, asked).exit_code == 2


def test_master_without_spark_and_an_engine_that_is_none_are_usage_errors(store: Store, tmp_path: Path) -> None:
    asked = ["batch", "--store", str(store.path), "--out", str(tmp_path / "out")]
    for options in (["--master", "spark://host:7077"], ["--engine", "flink"]):
        assert CliRunner().invoke(app, [*asked, *options]).exit_code == 2


def test_sample_is_analysed_apart_from_the_whole_with_counts_that_come_to_it(store: Store, tmp_path: Path) -> None:
    whole, sampled = run(store, tmp_path / "out"), run(Store(store.path, sample=2), tmp_path / "sampled")
    assert (whole.analysed, sampled.analysed) == (1, 1)
    counts = [pd.read_parquet(tmp_path / name / "edges.parquet") for name in ("out", "sampled")]
    seen, adjusted = ([frame[column].sum() for frame in counts] for column in ("count", "adjusted_count"))
    assert seen[0] == adjusted[0] and adjusted[1] == 2 * seen[1]
    assert 0.8 < adjusted[1] / adjusted[0] < 1.2
    for name, raw, made_up in (
        ("reliability", "calls", "adjusted_calls"),
        ("coverage", "spans", "adjusted_spans"),
    ):
        all_of_it, part = (pd.read_parquet(tmp_path / out / f"{name}.parquet") for out in ("out", "sampled"))
        assert all_of_it[raw].tolist() == all_of_it[made_up].tolist()
        assert (2 * part[raw]).tolist() == part[made_up].tolist()
        assert 0.8 < part[made_up].sum() / all_of_it[made_up].sum() < 1.2
    assert run(Store(store.path, sample=2), tmp_path / "out").skipped == 0
