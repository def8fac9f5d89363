"""Docs are tested like code: what they name exists, links lead somewhere, and no command is left out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from hypocenter.cli.main import app
from hypocenter.tracer.kubernetes.kinds import KINDS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "sample_data").rglob("README.md")])
COMMAND = typer.main.get_command(app)
COMMANDS = dict(COMMAND.commands)  # type: ignore[attr-defined]
UsageError: Any = typer.BadParameter.__base__


def blocks(page: Path) -> Iterator[str]:
    """Yield what follows the program's name in each line of a page that begins with it: a command that runs."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^\s*(?:\$ )?hypocenter ([a-z].*)$", text, re.MULTILINE):
        # Brackets say what may be left out.
        yield re.sub(r"[\[\]]", "", line.split("  #")[0])


def mentions(page: Path) -> Iterator[str]:
    """Yield what follows the program's name within a sentence: a command, maybe in part."""
    for words in re.findall(r"`hypocenter ([a-z][^`]*)`", page.read_text(encoding="utf-8")):
        yield " ".join(words.replace("...", "").split())


def unlike(command: Any, words: list[str], *, in_part: bool) -> str | None:
    """Return what a command would refuse of the words; what is left out is no fault of a command ``in_part``."""
    context = command.context_class(command, info_name=command.name)
    try:
        given, rest, _ = command.make_parser(context).parse_args(list(words))
    except UsageError as error:
        # A sentence may name an option without its value.
        return None if in_part and "requires an argument" in error.message else error.message
    for param in command.params:
        value = given.get(param.name)
        if value is None and param.required and not in_part:
            return f"{param.name} is missing"
        # A word in capitals stands for what the reader puts there, and files of a page are not here.
        if value is not None and not str(value).isupper() and not str(value).endswith(".jsonl"):
            try:
                param.process_value(context, value)
            except UsageError as error:
                return error.message
    subcommands = getattr(command, "commands", {})
    if rest and rest[0] in subcommands:
        return unlike(subcommands[rest[0]], rest[1:], in_part=in_part)
    if rest:
        return f"{rest[0]} is too much"
    return None if in_part or not subcommands or command.invoke_without_command else "a subcommand is missing"


@pytest.mark.parametrize(
    ("words", "in_part", "refused"),
    [
        ("graph store", True, "store is too much"),
        ("rank", False, "store is missing"),
        ("rank", True, None),
        ("rank --store s -o xml", True, "'xml' is not one of 'text', 'json'"),
        ("rank --stores s", True, "No such option: --stores"),
        ("graph --by", True, None),
        ("graph --by", False, "Option '--by' requires an argument."),
        ("store prune", False, "folder is missing"),
        ("store shrink STORE", False, "shrink is too much"),
        ("store", False, "a subcommand is missing"),
        ("hook --config hook.yaml", False, None),
        ("hook replay --config hook.yaml", False, None),
        ("evaluate CASES.jsonl", False, None),
        ("evaluate CASES.jsonl --rename-services SEED", False, None),
        ("evaluate CASES.jsonl --rename-services many", False, "valid integer"),
        ("guess", True, "guess is too much"),
    ],
)
def test_a_command_that_the_program_would_refuse_is_found(words: str, in_part: bool, refused: str | None) -> None:
    found = unlike(COMMAND, words.split(), in_part=in_part)
    assert (found is None) if refused is None else (refused in str(found))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_a_page_are_ones_that_the_program_takes(page: Path) -> None:
    wrong = []
    for line in blocks(page):
        words = list(takewhile(lambda word: word not in (">", "|", "&", "&&"), shlex.split(line)))
        wrong += [f"{line}: {refused}"] if (refused := unlike(COMMAND, words, in_part=False)) else []
    for line in mentions(page):
        wrong += [f"{line}: {refused}"] if (refused := unlike(COMMAND, shlex.split(line), in_part=True)) else []
    assert wrong == []


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_is_in_the_docs(name: str) -> None:
    assert COMMANDS[name].help
    assert name in {line.split()[0] for page in PAGES for line in (*blocks(page), *mentions(page))}


def test_dump_of_the_how_to_holds_every_kind_that_the_collector_may_read_whole() -> None:
    page = (ROOT / "docs" / "howto" / "kubernetes.md").read_text(encoding="utf-8")
    (dumped,) = re.findall(r"^ +(pods,\S+)", page, re.MULTILINE)
    collected = [kind.plural for kind in KINDS if not (kind.metadata_only or kind.optional)]
    assert sorted(dumped.split(",")) == sorted(collected)


def test_glossary_is_in_the_order_of_the_alphabet() -> None:
    rows = re.findall(r"^\| (.*?) \| .* \|$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    words = rows[rows.index("word") + 1 :]
    assert words == sorted(words, key=str.casefold)


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
