"""The page of linking rules names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_rule_of_the_page_names_the_tests_that_hold_it() -> None:
    _, table = (ROOT / "docs/linking.md").read_text(encoding="utf-8").split("## Which test holds which rule")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")][1:]
    named = {shape.strip(): re.findall(r"`(test_\w+)`", tests) for _, shape, tests, _ in rows}
    held = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", held, re.MULTILINE))
    assert len(named) == 27
    assert {shape: sorted(set(tests) - existing) or ["ok"] for shape, tests in named.items()} == {
        shape: ["ok"] for shape in named
    }
    assert all(named.values())
