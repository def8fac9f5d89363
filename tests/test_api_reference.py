"""The reference of the API is built from the docstrings: every public name is on it, and none is without words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = (ROOT / "docs" / "reference.txt").read_text(encoding="utf-8").split()


@pytest.mark.slow
def test_reference_is_built_and_holds_every_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pdoc", "--docformat", "numpy", "--output-directory", str(tmp_path), *MODULES]
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    pages = {
        page.relative_to(tmp_path).with_suffix("").as_posix().replace("/", ".") for page in tmp_path.rglob("*.html")
    }
    assert pages >= set(MODULES)
    front = (tmp_path / "hypocenter.html").read_text(encoding="utf-8")
    names = ("open", "ingest", "evaluate", "Session", "RankedIncident")
    assert [f'id="{name}"' in front for name in names] == [True] * len(names)


@pytest.mark.filterwarnings("ignore:Error parsing type annotation")
def test_every_public_name_of_the_reference_has_a_docstring() -> None:
    import pdoc.doc

    silent = []
    for name in MODULES:
        module = pdoc.doc.Module.from_name(name)
        for member in module.members.values():
            own = member.modulename == name and not member.name.startswith("_")
            if own and member.kind in ("class", "function") and not member.docstring:
                silent.append(member.fullname)
            if own and member.kind == "class":
                silent += [
                    m.fullname
                    for m in member.own_members  # type: ignore[attr-defined]
                    if m.kind == "function" and not m.name.startswith("_") and not m.docstring
                ]
    assert silent == []
