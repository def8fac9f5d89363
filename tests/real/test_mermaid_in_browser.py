"""The Mermaid flowchart of a graph, drawn by Mermaid: every name is shown as it is, and none of them runs."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser
from watched import HOSTILE, watch

sys.path[:0] = [str(Path(__file__).parents[1] / "graph")]

from rollup_tables import edge, graph  # noqa: E402
from test_graph_exports import from_a_file  # noqa: E402

from hypocenter.graph.dependency_graph import DependencyGraph  # noqa: E402

# Entities, Markdown, formulas, icons, comments, directives and keywords of Mermaid, and HTML.
NAMES = (
    *(HOSTILE, "it's #35; &quot;", 'say "no"', "`code` **b** _i_", "$$x$$", "fa:fa-car y", "%% a", "%%{init: {}}%%"),
    *("style x:y#z;", "classDef a:b#c;", "end", "a\\nb", "x|y", '"];', "{{x}}", "~~~", "日本", "a b"),
)
DRAWN = """async text => {
  mermaid.initialize({startOnLoad: false, securityLevel: "strict"});
  document.body.innerHTML = (await mermaid.render("drawn", text)).svg;
  const texts = selector => [...document.querySelectorAll(selector)].map(found => found.textContent);
  return {
    names: texts(".nodeLabel"),
    labels: texts("span.edgeLabel"),
    calls: document.querySelectorAll("path.flowchart-link").length,
    made: document.body.querySelectorAll("img, script, a, b, i, em, strong, code").length,
  };
}"""


def drawn(browser: Browser, mermaid: str, made: DependencyGraph) -> dict[str, object]:
    page = browser.new_page()
    untoward = watch(page, "about:blank")
    page.add_script_tag(content=mermaid)
    found: dict[str, object] = page.evaluate(DRAWN, made.to_mermaid())
    assert untoward == []
    return found


def test_hostile_names_are_drawn_as_they_are(browser: Browser, mermaid: str) -> None:
    found = drawn(browser, mermaid, graph(*(edge("web", name, 8, errors=1) for name in NAMES)))
    assert found == {
        "names": sorted(["web", *NAMES]),
        "labels": ["0.8/s, 12.5% errors"] * len(NAMES),
        "calls": len(NAMES),
        "made": 0,
    }


def test_calls_that_nobody_counted_are_drawn_without_a_label(browser: Browser, mermaid: str) -> None:
    found = drawn(browser, mermaid, from_a_file(("web", "cart", 0), ("web", "db", 1200)))
    assert found == {"names": ["cart", "db", "web"], "labels": ["1,200 calls", ""], "calls": 2, "made": 0}
