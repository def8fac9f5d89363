"""`hypocenter ingest`: a line per file, exit code 1 when something failed."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from hypocenter.cli.main import app
from hypocenter.tracer.store import Store

SPANS = (
    "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano\nt,1,root,web,GET,5,4\n,2,,,,,\n"
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["ingest", *map(str, arguments)])


def test_summary_names_format_rows_drops_and_repairs(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(SPANS, encoding="utf-8")
    done = run(file, "--store", tmp_path / "store")
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        [
            f"added: {file}: nezha-traces: 1 spans",
            "  dropped 1: span without id, pod or time",
            "  repaired 1: end before start",
            f"    {file}: row 3: span without id, pod or time",
        ],
    )
    again = run(file, "--store", tmp_path / "store")
    assert (again.exit_code, again.stdout) == (0, f"already there: {file}\n")


def test_json_carries_the_same(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(SPANS, encoding="utf-8")
    found = json.loads(run(file, "--store", tmp_path / "store", "-o", "json").stdout)
    assert found == {
        "files": [
            {
                "path": str(file),
                "format": "nezha-traces",
                "outcome": "added",
                "rows": {"spans": 1},
                "dropped": {"span without id, pod or time": 1},
                "repaired": {"end before start": 1},
                "problems": [f"{file}: row 3: span without id, pod or time"],
                "error": None,
            }
        ],
        "rows": {"spans": 1},
    }


def test_a_broken_file_makes_exit_code_1_and_the_rest_goes_in(tmp_path: Path) -> None:
    good, bad = tmp_path / "t.csv", tmp_path / "u.csv"
    good.write_text(SPANS, encoding="utf-8")
    bad.write_bytes(b"")
    done = run(bad, good, "--store", tmp_path / "store")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == f"failed: {bad}: byte 0: the file is empty"
    assert done.stdout.splitlines()[1] == f"added: {good}: nezha-traces: 1 spans"


def test_nothing_to_read_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = run(tmp_path / "in", "--store", tmp_path / "store")
    assert (done.exit_code, done.stdout) == (1, "")


def test_wrong_usage_is_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(SPANS, encoding="utf-8")
    assert run(file, "--store", tmp_path / "store", "-o", "xml").exit_code == 2
    assert run(file, "--store", tmp_path / "store", "--time", "never").exit_code == 2


def test_privacy_rules_are_options(tmp_path: Path) -> None:
    attributes = [{"key": name, "value": {"stringValue": "a@b.example"}} for name in ("keep", "drop", "hide")]
    span = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "startTimeUnixNano": "5"}
    file = tmp_path / "t.json"
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [{**span, "attributes": attributes}]}]}]}
    file.write_text(json.dumps(document), encoding="utf-8")
    rules = ("--deny-attribute", "drop", "--hash-attribute", "h*", "--no-masks")
    assert run(file, "--store", tmp_path / "store", *rules).exit_code == 0
    (found,) = Store(tmp_path / "store").read("spans")["attributes"].to_pylist()
    assert [name for name, _ in found] == ["keep", "hide"]
    assert (found[0][1], found[1][1].startswith('"hash:')) == ('"a@b.example"', True)
