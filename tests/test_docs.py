"""Docs are tested like code: what they name exists, links lead somewhere, and no command is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from hypocenter.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "sample_data").rglob("README.md")])
COMMAND = typer.main.get_command(app)
COMMANDS = dict(COMMAND.commands)  # type: ignore[attr-defined]


def options(command: object) -> set[str]:
    found = {opt for param in getattr(command, "params", []) for opt in [*param.opts, *param.secondary_opts]}
    for sub in getattr(command, "commands", {}).values():
        found |= options(sub)
    return found


def uses() -> list[tuple[str, str, str]]:
    """Return (page, command, line) for every line of a page that begins with the program's name."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"(?:^\s*(?:\$ )?|`)hypocenter ([a-z]+)([^\n`]*)", text, re.MULTILINE):
            found.append((page.relative_to(ROOT).as_posix(), match.group(1), match.group(2)))
    return found


@pytest.mark.parametrize(("page", "command", "rest"), sorted(set(uses())))
def test_command_line_of_a_page_exists(page: str, command: str, rest: str) -> None:
    assert command in COMMANDS, f"{page} names a command that is not there"
    unknown = set(re.findall(r"(?<!\S)--[a-z][a-z-]+", rest)) - options(COMMANDS[command]) - {"--help"}
    assert unknown == set(), f"{page}: hypocenter {command}{rest}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_is_in_the_docs(name: str) -> None:
    assert COMMANDS[name].help
    assert name in {command for _, command, _ in uses()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        if not place.exists():
            wrong.append(target)
        elif anchor:
            headings = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            if anchor not in slugs:
                wrong.append(target)
    assert wrong == []
