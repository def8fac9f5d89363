"""Every block of code in the README and the docs runs as it stands, in a folder that has what the page speaks of."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import small_incident as small
import stored_answers
import yaml
from typer.testing import CliRunner

from hypocenter.cli.main import app
from hypocenter.session import ingest
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample_data" / "incidents" / "slow-service-payment-1"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs" / "howto").glob("*.md")])
HOUR_NS = 3600 * 10**9
# What a page's commands need that no folder holds, and who runs them.
ELSEWHERE = {
    r"^collect ": "serves until it is stopped: tests/tracer/test_collect.py",
    r"^hook ": "serves until it is stopped: tests/hook/test_app.py",
    r"^(cluster|changes) ": "needs the objects of that cluster: tests/cli/test_kube.py",
    r"^pull (tempo|zipkin|alertmanager) ": "needs that server: tests/real/test_pull_jaeger.py and its neighbours",
    r"^batch .*--engine spark": "needs a cluster: tests/real/spark_cluster",
    r"s3://": "needs object storage: tests/real/test_object_storage.py",
    r"--sweep": "ranks each case fifteen times more: tests/analysis/test_granularity.py",
    r"--endpoint": "needs a receiver: tests/cli/test_export_command.py",
    r"^export WHAT": "is the usage, not a command",
}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(page: Path) -> list[str]:
    """Return what follows the program's name in the blocks of a page, in order."""
    found = re.findall(r"^(?:    )?(?:\$ )?hypocenter +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [line.split("  #")[0].strip() for line in found]


def snippets(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(rf"^```{language}[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {6}import .*(?:\n {6}.*)*", text, re.MULTILINE) if language == "python" else []
    return [*fenced, *(re.sub("^ {6}", "", block, flags=re.MULTILINE) for block in indented)]


def moved(suspect: str, by_ns: int, mark: str, version: str) -> Batch:
    """Return the small incident at another time, its traces marked, the suspect of a version."""
    batch = small.telemetry(suspect)
    spans = batch.table("spans").to_pandas()
    spans["start_ns"] += by_ns
    spans["trace_id"] = mark + spans["trace_id"].str.slice(len(mark))
    spans["service_version"] = version
    if mark == "e":
        spans.loc[spans.trace_id == spans.trace_id[0], "trace_id"] = "5b8efff798038103d269b633813fc60c"
    table = pa.Table.from_pandas(spans, batch.table("spans").schema, preserve_index=False)
    points = batch.table("points")
    times = pc.add(points["time_ns"], by_ns)
    points = points.set_column(points.schema.get_field_index("time_ns"), points.schema.field("time_ns"), times)
    return Batch({"spans": table, "series": batch.table("series"), "points": points})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder with the files and stores that the pages name; what is live ends now."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    for file in SAMPLE.iterdir():
        signal = file.name.partition(".")[0]
        (tmp_path / signal).mkdir()
        shutil.copy(file, tmp_path / signal)
    shutil.copytree(SAMPLE, tmp_path / "recordings")
    shutil.copy(SAMPLE / "traces.jsonl.gz", tmp_path / "traces.jsonl")
    shutil.copy(SAMPLE / "metrics.om.gz", tmp_path)
    now = time.time_ns() - small.END_NS
    for store in ("STORE", "telemetry"):
        live = Store(tmp_path / store, create=True)
        live.append(moved("cart", now - HOUR_NS - 600 * 10**9, "e", "1.0"))
        live.append(moved("cart", now, "f", "1.1"))
    (tmp_path / "alerts.csv").write_text(f"time,service\n{(now + small.END_NS) / 1e9},web\n", encoding="utf-8")
    dependencies = {"data": [{"parent": "web", "child": "cart", "callCount": 10}]}
    (tmp_path / "dependencies.json").write_text(json.dumps(dependencies), encoding="utf-8")
    (tmp_path / "incidents").symlink_to(SAMPLE.parent)
    lines = (ROOT / "sample_data" / "CASES.jsonl").read_text(encoding="utf-8").splitlines()
    case = next(line for line in lines if SAMPLE.name in line)
    (tmp_path / "CASES.jsonl").write_text(f"{case}\n", encoding="utf-8")
    ingest(SAMPLE, "incident")
    yield tmp_path


@pytest.fixture
def servers() -> Iterator[dict[str, str]]:
    with stored_answers.servers() as told:
        live = {"http://prometheus:9090": told["PROMETHEUS_URL"], "http://jaeger:16686": told["JAEGER_URL"]}
        # A Jaeger's traces stand for Tempo's.
        yield live | {'tempo="http://tempo:3200"': f'jaeger="{told["JAEGER_URL"]}"'}


def pointed(text: str, servers: dict[str, str]) -> str:
    for address, local in servers.items():
        text = text.replace(address, local)
    return text


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=name)
def test_commands_of_a_page_run(page: Path, folder: Path, servers: dict[str, str]) -> None:
    failed = []
    for line in commands(page):
        if any(re.search(pattern, line) for pattern in ELSEWHERE):
            continue
        # A link into another tool keeps its address.
        run = line if "--link" in line else pointed(line, servers)
        arguments = shlex.split(run)
        done = CliRunner().invoke(app, arguments)
        if done.exit_code:
            failed.append(f"{line}: {done.output[-500:]} {done.exception!r}")
    assert failed == []


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if snippets(p, "python")], ids=name)
def test_python_of_a_page_runs(page: Path, folder: Path, servers: dict[str, str]) -> None:
    names: dict[str, object] = {}
    for block in snippets(page, "python"):
        # Relative times are those of live stores.
        text = pointed(block, servers).replace('hc.open("incident").rank(at="-30m")', 'hc.open("STORE").rank(at="-2m")')
        exec(compile(text, name(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_yaml_and_json_of_a_page_are_well_formed(page: Path) -> None:
    for block in snippets(page, "yaml"):
        assert list(yaml.safe_load_all(block))
    for block in snippets(page, "json"):
        assert json.loads(block) is not None
