"""Imports go one way, labels stay invisible to rankers, and help is instant."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BELOW = {"tracer": set(), "graph": {"tracer"}, "analysis": {"tracer", "graph"}}
LEAVES = {
    "hypocenter.errors",
    "hypocenter.legible",
    "hypocenter.semconv",
    "hypocenter.figures",
    "hypocenter.figures.look",
}


def imported(path: Path, package: tuple[str, ...]) -> set[str]:
    """Return the absolute names that a file imports, relative ones resolved."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            found.add(".".join([*base, *([node.module] if node.module else [])]))
    return found


@pytest.mark.parametrize("folder", sorted(BELOW))
def test_folder_imports_only_what_lies_below_it(folder: str) -> None:
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        package = ("hypocenter", *path.relative_to(ROOT).parts[:-1])
        for name in imported(path, package):
            own = name.split(".")
            if own[0] in BELOW:
                wrong.append(f"{path}: {name} is not importable once installed")
            if (
                own[0] == "hypocenter"
                and name not in LEAVES
                and (len(own) < 2 or own[1] not in BELOW[folder] | {folder})
            ):
                wrong.append(f"{path}: {name}")
    assert wrong == []


def test_figures_are_a_leaf_that_anything_may_draw_with() -> None:
    allowed = ("hypocenter.figures", "hypocenter.errors", "hypocenter.legible", "hypocenter.tracer.window")
    wrong = []
    for path in sorted((ROOT / "hypocenter" / "figures").glob("*.py")):
        # What is imported for types alone does not count.
        text = path.read_text(encoding="utf-8").partition("if TYPE_CHECKING:")[0]
        nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom) and n.level]
        names = ["hypocenter." + "figures." * (n.level == 1) + (n.module or "") for n in nodes]
        wrong += [f"{path}: {name}" for name in names if not name.startswith(allowed)]
    assert wrong == []


def test_only_evaluation_knows_labels() -> None:
    knowing = []
    for path in sorted((ROOT / "analysis").rglob("*.py")):
        package = ("hypocenter", *path.relative_to(ROOT).parts[:-1])
        if "evaluation" not in package and any("evaluation" in name for name in imported(path, package)):
            knowing.append(str(path))
    assert knowing == []


def test_import_and_command_line_load_no_heavy_library() -> None:
    heavy = "pandas numpy duckdb pyarrow networkx"
    code = f"import sys, hypocenter.cli.main; print(sorted(set('{heavy}'.split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
