"""The wheel holds the whole package and works where nothing else of ours is."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", out, ROOT], check=True)
    (found,) = out.glob("*.whl")
    return found


def test_wheel_holds_every_module_and_query_and_no_test(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    expected = {"hypocenter/py.typed"}
    for folder in ("hypocenter", "tracer", "graph", "analysis"):
        for path in (ROOT / folder).rglob("*"):
            relative = path.relative_to(ROOT)
            linked = (
                any(part in relative.parts[1:2] for part in ("tracer", "graph", "analysis")) and folder == "hypocenter"
            )
            if path.suffix in (".py", ".sql", ".html", ".css", ".js", ".md") and not linked:
                expected.add(relative.as_posix() if folder == "hypocenter" else f"hypocenter/{relative.as_posix()}")
    expected |= {
        f"hypocenter/demo_incident/{path.name}" for path in (ROOT / "hypocenter/demo_incident").glob("*.parquet")
    }
    assert inside == expected
    assert sum("demo_incident" in name for name in inside) == 4


def test_installed_wheel_ranks_an_incident_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]} | {
        k: v for k, v in os.environ.items() if "PIP" in k or "PROXY" in k.upper()
    }
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, env=env)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel], check=True, env=env)
    rows = [f"{1_700_000_000 + s},1.{s % 3},{9 if s >= 0 else 1}.{s % 3}" for s in range(-600, 300, 5)]
    (tmp_path / "data.csv").write_text("\n".join(["time,web_latency,cart_latency", *rows]), encoding="utf-8")
    case = {"inject_time_epoch_s": 1_700_000_000, "paths": {"metrics": ["data.csv"]}, "root_cause_service": "cart"}
    (tmp_path / "CASES.jsonl").write_text(json.dumps(case), encoding="utf-8")
    command = [tmp_path / "venv/bin/hypocenter", "evaluate", tmp_path / "CASES.jsonl", "-o", "json"]
    done = subprocess.run(command, check=True, env=env, cwd=tmp_path, capture_output=True, text=True)
    first = json.loads(done.stdout)["scores"][0]
    assert (first["ranker"], first["ac"]["1"], first["failed"]) == ("hypocenter", 1.0, 0)
