"""The examples in docstrings run."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"hypocenter": "hypocenter", **{name: f"hypocenter.{name}" for name in ("tracer", "graph", "analysis")}}


def modules() -> list[str]:
    found = []
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            linked = folder == "hypocenter" and parts[0] in FOLDERS
            if ">>> " in path.read_text(encoding="utf-8") and not linked:
                found.append(".".join([package, *(p for p in parts if p != "__init__")]))
    return found


@pytest.mark.parametrize("name", modules())
def test_examples_of_module_print_what_they_say(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert (result.attempted > 0, result.failed) == (True, 0)
