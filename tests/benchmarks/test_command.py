"""The command line of the benchmarks, and how a call is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks.measure import measure


def echo(size: int, label: str = "x", ratio: float = 0.5) -> dict[str, object]:
    """Stand for the ``run`` of a benchmark."""
    return {"size": size, "label": label, "peer": {"ratio": ratio, "of": [1234.5, None]}}


def allocate(mebibytes: int) -> int:
    """Touch so much memory."""
    return len(bytearray(b"x") * (mebibytes * 2**20))


def spin(rounds: int) -> int:
    """Use the processor."""
    return sum(range(rounds))


@pytest.fixture
def echoing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        run = staticmethod(echo)

    monkeypatch.setattr(command, "descriptions", lambda: {"echo": "says what it is told"})
    monkeypatch.setattr("importlib.import_module", lambda _: Module)


def test_listing_names_each_benchmark_with_its_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["store"].startswith("durable append")
    assert not {"generate", "measure"} & set(lines)


def test_listing_loads_no_heavy_library() -> None:
    code = "import sys, benchmarks.__main__ as c; c.main([]); print({'numpy', 'pyarrow'} & set(sys.modules))"
    root = Path(command.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.usefixtures("echoing")
def test_options_come_from_the_signature_and_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["echo", "-o", "json", "--size", "3", "--label", "y"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "benchmark": "echo",
        "options": {"size": 3, "label": "y", "ratio": 0.5},
        "size": 3,
        "label": "y",
        "peer": {"ratio": 0.5, "of": [1234.5, None]},
    }


@pytest.mark.usefixtures("echoing")
def test_text_labels_a_nested_figure_by_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["echo", "--size", "1000000"]) == 0
    rows = [line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:]]
    shown = {label.strip(): value for label, value in rows}
    assert shown == {"size": "1,000,000", "label": "x", "peer ratio": "0.5", "peer of 0": "1,234", "peer of 1": "None"}


@pytest.mark.usefixtures("echoing")
@pytest.mark.parametrize("arguments", [["nothing"], ["echo", "--size", "many"], ["echo"], ["echo", "--colour", "red"]])
def test_unknown_name_option_or_value_is_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the measuring process import this file."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.mark.usefixtures("importable")
def test_measure_returns_the_result_and_the_peak_of_its_own_process() -> None:
    idle, busy = measure(spin, rounds=10), measure(allocate, mebibytes=300)
    assert (idle.result, busy.result) == (45, 300 * 2**20)
    assert busy.peak_rss_bytes - idle.peak_rss_bytes == pytest.approx(300 * 2**20, rel=0.1)
    assert busy.cpu_seconds > 0
    assert busy.seconds > 0


@pytest.mark.usefixtures("importable")
def test_measured_failure_is_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        measure(spin, rounds="ten")
