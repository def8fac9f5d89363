"""The image's recipe, read as text: it is built where containers are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.M))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def last(name: str) -> str:
    return next(value for found, value in reversed(instructions()) if found == name)


def test_bases_are_pinned_to_a_full_version() -> None:
    bases = [value.split()[0] for name, value in instructions() if name == "FROM"]
    assert bases and all(re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+[a-z-]*(@sha256:[0-9a-f]{64})?", base) for base in bases)


def test_it_runs_as_a_user_without_privileges_named_by_number() -> None:
    user, group = map(int, last("USER").split(":"))
    assert user >= 10_000 and group >= 10_000


def test_nothing_is_fetched_but_pinned_packages() -> None:
    names = {name for name, _ in instructions()}
    runs = " ".join(value for name, value in instructions() if name == "RUN")
    assert "ADD" not in names
    assert not re.search(r"\b(curl|wget|sudo)\b|https?:", runs)
    assert "--constraint constraints.txt" in runs


def test_it_starts_without_a_shell_so_that_signals_arrive() -> None:
    assert last("ENTRYPOINT") == '["hypocenter"]'


def test_what_the_build_needs_is_sent_and_nothing_else() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert (ROOT / ".dockerignore").read_text().startswith("*\n")
    links = {str(link.resolve().relative_to(ROOT)).split("/")[0] for link in (ROOT / "hypocenter").iterdir()}
    assert links <= sent and {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= sent
    assert all((ROOT / name).exists() for name in sent)
