"""Secrets of every default mask are planted in spans, events, logs and series, and looked for in all that comes out."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_incident as small
from typer.testing import CliRunner

from hypocenter.cli.main import app
from hypocenter.tracer.schema import SIGNALS, TIME_COLUMN
from hypocenter.tracer.store import Store

# Each secret holds this word, so that a part of one is found as well.
MARK = "Xy7Q"
ATTRIBUTES = {
    "http.request.header.authorization": f"Bearer {MARK}authorization",
    "http.request.header.cookie": f"session={MARK}cookie",
    "http.response.header.set-cookie": f"id={MARK}setcookie; Path=/",
    "http.request.header.x-api-key": f"{MARK}apikey",
    "app.access_token": f"{MARK}token",
    "password": f"{MARK}password",
    "url.full": f"https://user:{MARK}urlpassword@shop/pay?card={MARK}urlquery#top",
    "http.target": f"/pay?card={MARK}target",
    "url.query": f"?card={MARK}query",
    "db.statement": f"SELECT * FROM cards WHERE owner = '{MARK}sql' AND pin = \"{MARK}sqlquoted\"",
    "db.query.text": f"INSERT INTO cards VALUES ('{MARK}insert')",
    "db.query.parameter.owner": f"{MARK}parameter",
    "enduser.mail": f"{MARK}mail@example.com",
    "note": f"sent Authorization: Basic {MARK}basicdXNlcg== and eyJ{MARK}jwt.eyJ{MARK}jwt.{MARK}signature",
    "payload": json.dumps({"client_secret": f"{MARK}jsonsecret", "n": 1}),
}
TEXTS = (
    f"login of {MARK}logmail@example.com password={MARK}logpassword token: {MARK}logtoken",
    f'{{"api_key": "{MARK}logjson", "url": "https://shop/a?card={MARK}logurl"}}',
    f"Cookie: a={MARK}logcookie",
)


def planted(folder: Path) -> list[Path]:
    batch = small.telemetry(operation=f"POST /pay?card={MARK}name", message=TEXTS[0])
    tables = {name: batch.table(name) for name in SIGNALS}
    spans, logs = tables["spans"].to_pylist(), tables["logs"].to_pylist()
    pairs = [(key, json.dumps(value)) for key, value in ATTRIBUTES.items()]
    for place, row in enumerate(spans):
        start = row["start_ns"]
        told = {"exception.message": TEXTS[1], "exception.stacktrace": TEXTS[0], **ATTRIBUTES}
        events = [{"time_ns": start, "name": "exception", "attributes": told}]
        row |= {"attributes": pairs, "events": json.dumps(events), "status_message": TEXTS[place % 3]}
        row["resource"] = [*(row["resource"] or ()), ("process.command_args", json.dumps(f"--password={MARK}argument"))]
    logs += [dict(logs[0]) for _ in range(3)] if logs else []
    for place, row in enumerate(logs):
        row |= {"body": TEXTS[place % 3], "attributes": pairs}
    series = dict.fromkeys(SIGNALS["series"].names) | {"series_id": "s", "name": "hits", "kind": "gauge", "source": "x"}
    points = {"series_id": "s", "time_ns": small.START_NS, "value": 1.0, "histogram": None}
    tables |= {
        "spans": pa.Table.from_pylist(spans, SIGNALS["spans"]),
        "logs": pa.Table.from_pylist(logs, SIGNALS["logs"]),
    }
    tables["series"] = pa.Table.from_pylist([series | {"attributes": pairs}], SIGNALS["series"])
    tables["points"] = pa.Table.from_pylist([points], SIGNALS["points"])
    paths = []
    for name in ("spans", "logs", "series", "points"):
        if tables[name].num_rows:
            paths.append(folder / f"{name}.parquet")
            pq.write_table(tables[name], paths[-1])
    return paths


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what each command printed on both streams and wrote, and the store as bytes and rows."""
    folder = tmp_path_factory.mktemp("privacy")
    store, found = folder / "store", {}
    inputs = folder / "inputs"
    inputs.mkdir()

    def run(*arguments: object, expected: int = 0) -> None:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == expected, (arguments, result.output)
        found[" ".join(map(str, arguments[:2])) + f" {len(found)}"] = result.stdout + result.stderr

    run("ingest", *planted(inputs), "--store", store)
    run("ingest", *sorted(inputs.iterdir()), "--store", folder / "again", "-o", "json")
    for written in ("text", "json", "graphml", "dot", "mermaid", "openmetrics"):
        run("graph", "--store", store, "-o", written)
    run("graph", "--store", store, "--html", folder / "map.html", "--operations", "--instances")
    run("doctor", "--store", store)
    run("rank", "--store", store, "--at", small.ALERT_NS)
    run("rank", "--store", store, "--at", small.ALERT_NS, "-o", "json")
    run("report", "--store", store, "--at", small.ALERT_NS, "--out", folder / "report.html")
    run("trace", f"{420:032x}", "--store", store, "--html", folder / "trace.html")
    run("export", "spans", "--store", store, "--out", folder / "spans.jsonl")
    for what in ("spans", "logs", "series", "calls", "operations", "graph", "ranking"):
        run("export", what, "--store", store, "--format", "csv", "--out", folder / f"{what}.csv")
    run("trace", f"{MARK}nosuchtrace", "--store", store, expected=1)
    for file in folder.glob("*.*"):
        found[file.name] = file.read_text(encoding="utf-8")
    opened = Store(store)
    for signal in SIGNALS:
        found[f"rows of {signal}"] = str(opened.read(signal).to_pylist())
    for file in store.rglob("*"):
        if file.is_file():
            found[f"bytes of {file.relative_to(store)}"] = file.read_bytes().decode("latin-1")
    return found


def test_the_planted_is_there_without_masks(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    paths = planted(tmp_path / "in")
    arguments = ["ingest", *map(str, paths), "--store", str(tmp_path / "store"), "--no-masks"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    opened = Store(tmp_path / "store")
    rows = {signal: str(opened.read(signal).to_pylist()) for signal in TIME_COLUMN}
    assert all(value in rows["spans"] for value in (f"{MARK}cookie", f"{MARK}jwt", f"{MARK}name", f"{MARK}argument"))


def test_no_secret_is_in_the_store_or_anything_that_is_printed_or_written(outputs: dict[str, str]) -> None:
    leaks = {
        name: text[max(0, text.find(MARK) - 80) : text.find(MARK) + 40]
        for name, text in outputs.items()
        if MARK in text
    }
    # A trace id that the user typed is said back to him.
    assert {name: near for name, near in leaks.items() if "nosuchtrace" not in near} == {}
    assert len(outputs) > 30


def test_what_is_no_secret_stays(outputs: dict[str, str]) -> None:
    assert "SELECT * FROM cards WHERE owner = ?" in outputs["rows of spans"]
    assert "https://***@shop/pay?***#top" in outputs["rows of spans"]
    assert "POST /pay?***" in outputs["operations.csv"]
    assert "payment" in outputs["report.html"]
