"""The notebooks run from clean, offline, and come to the right answers; git holds no outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
import stored_answers

FOLDER = Path(__file__).parent.parent / "notebooks"
# The origins that each names, in order.
ANSWERS = {
    "01_from_an_alert_to_the_origin": ["shipping"],
    "02_slow_but_no_errors": ["payment"],
    "03_after_a_rollout_or_when_the_cluster_did_it": ["catalog 9.0.0", "the way from checkout to payment"],
    "04_your_own_prometheus_and_traces": ["payment"],
    "05_judge_the_ranker_on_your_own_incidents": [],
}
SHOWN = {
    "03_after_a_rollout_or_when_the_cluster_did_it": ["<td>9.0.0</td>"],
    "05_judge_the_ranker_on_your_own_incidents": ["<td>hypocenter</td>", "<td>shipping</td>"],
}


def outputs(notebook: Any, kind: str) -> list[str]:
    """Return what code cells showed in this media type."""
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return ["".join(o.data[kind]) for o in shown if kind in o.get("data", {})]


def test_every_notebook_has_an_answer_here_and_no_outputs_in_git() -> None:
    files = sorted(FOLDER.glob("*.ipynb"))
    assert [file.stem for file in files] == sorted(ANSWERS)
    kept = [cell for file in files for cell in nbformat.read(file, 4).cells if cell.get("outputs")]
    assert kept == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "origins"), ANSWERS.items())
def test_notebook_runs_from_clean_and_names_the_origin(
    name: str, origins: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", 4)
    resources = {"metadata": {"path": str(FOLDER)}}
    with stored_answers.servers() as addresses:
        for variable, value in addresses.items():
            monkeypatch.setenv(variable, value)
        nbclient.NotebookClient(notebook, timeout=200, kernel_name="python3", resources=resources).execute()
    shown = outputs(notebook, "text/html")
    cards = [text for text in shown if 'class="hypocenter card"' in text]
    named = [re.split(r" \(| is ", card.partition("<h3>")[2])[0] for card in cards]
    assert named == origins
    assert [text in "".join(shown) for text in SHOWN.get(name, [])] == [True] * len(SHOWN.get(name, []))
    assert len(outputs(notebook, "application/vnd.plotly.v1+json")) >= 2
    assert [text for text in outputs(notebook, "text/plain") if "Traceback" in text] == []
