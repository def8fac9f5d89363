"""Every page for every reader: axe-core finds nothing serious, nothing is fetched, nothing is said on the console."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from watched import opened

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "hook"), str(TESTS / "real")]

import hooks  # noqa: E402
import small_incident as small  # noqa: E402
import test_hook_in_browser as hook_pages  # noqa: E402

from hypocenter.batch import run  # noqa: E402
from hypocenter.incident import RankedIncident  # noqa: E402
from hypocenter.tracer.store import Store  # noqa: E402

# Where to keep the pictures, for people to look at.
PICTURES = os.environ.get("HYPOCENTER_PICTURES")
LINKS = {"Jaeger": "http://jaeger:16686/trace/{trace_id}", "Grafana": "https://grafana/explore?service={service}"}
SCREENS = {
    "desktop": (1400, 900, "light"),
    "dark": (1400, 900, "dark"),
    "phone": (390, 844, "light"),
    "phone-dark": (390, 844, "dark"),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    report = RankedIncident(small.ranking(), small.case()).report(folder / "report.html", LINKS)
    store = Store(folder / "store", create=True)
    store.append(small.telemetry(), arrived_ns=small.START_NS)
    batch = Path(run(store, folder / "batch").page)
    hook = hook_pages.pages(folder / "hook", hooks.Workers(), hooks.alert("web"), hooks.alert("checkout", name="Slow"))
    for name in ("list", "incident"):
        (folder / f"{name}.html").write_text(hook[name], encoding="utf-8")
    kept = {"report": report, "batch": batch}
    return kept | {f"hook-{name}": folder / f"{name}.html" for name in ("list", "incident")}


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", ["report", "batch", "hook-list", "hook-incident"])
def test_page_has_no_serious_finding_and_stays_by_itself(
    browser: Browser, axe: str, pages: dict[str, Path], name: str, screen: str
) -> None:
    width, height, scheme = SCREENS[screen]
    page, untoward = opened(browser, pages[name], width, height, scheme)
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}-{screen}.png", full_page=True)
    for summary in page.locator("summary").all():
        summary.click()
    page.evaluate(axe)
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(result => result.violations)")
    serious = [
        f"{v['id']}: {v['nodes'][0]['html'][:200]} ({len(v['nodes'])})"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert (untoward, serious) == ([], [])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
