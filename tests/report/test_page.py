"""Every page has one head: a style, a policy, a title, light and dark."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

import hypocenter
from hypocenter.report.environment import environment

FRAGMENTS = {"page.html", "parts.html", "card.html"}
PACKAGE = Path(hypocenter.__file__).parent
PAGES = [path for path in sorted(PACKAGE.rglob("*.html")) if path.name not in FRAGMENTS]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_page_extends_the_one_page_and_says_its_title(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("{% extends 'page.html' %}\n{% set title = ")
    assert "<head>" not in text and "<script" not in text


def test_a_page_without_scripts_may_run_none_and_telemetry_in_its_title_is_text() -> None:
    whole = environment("hypocenter.report").get_template("page.html").render(title="</title><script>1</script>")
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', whole)
    assert [html.unescape(text).split("; ")[:2] for text in policy] == [["default-src 'none'", "script-src 'none'"]]
    assert "<title>&lt;/title&gt;&lt;script&gt;1&lt;/script&gt;</title>" in whole
    assert "<script" not in whole
