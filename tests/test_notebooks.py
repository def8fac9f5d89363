"""The notebooks run from clean on the recorded sample and come to the right answer; git holds no outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
ANSWERS = {"01_from_an_alert_to_the_origin": "shipping", "02_slow_but_no_errors": "payment"}


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
@pytest.mark.parametrize(("name", "origin"), ANSWERS.items())
def test_notebook_runs_from_clean_and_names_the_origin(name: str, origin: str) -> None:
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", 4)
    resources = {"metadata": {"path": str(FOLDER)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    cards = [text for text in outputs(notebook, "text/html") if 'class="hypocenter card"' in text]
    assert [f"<h3>{origin} (" in card for card in cards] == [True]
    assert len(outputs(notebook, "application/vnd.plotly.v1+json")) >= 3
    assert [text for text in outputs(notebook, "text/plain") if "Traceback" in text] == []
