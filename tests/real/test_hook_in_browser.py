"""The hook's pages and Slack messages on a phone: nothing runs that telemetry wrote, nothing scrolls sideways."""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "hook"), str(TESTS / "real")]

import hooks  # noqa: E402
import slack_preview  # noqa: E402
from watched import opened  # noqa: E402

from hypocenter.hook.app import create_app  # noqa: E402

HOSTILE = "<b>p</b><img src=x onerror=alert(1)></script><script>alert(2)</script><a href='javascript:1'>x</a>"
SINKS = [{"kind": "webhook", "url": "http://next.example"}, {"kind": "slack", "url": "http://slack.example"}]


def pages(folder: Path, workers: hooks.Workers, *alerts: dict[str, Any]) -> dict[str, str]:
    """Return the list, the incident's page and the Slack message of some alerts, as HTML."""
    receiver = hooks.Receiver()

    async def whole() -> dict[str, str]:
        async with hooks.hook(folder, receiver, workers, sinks=SINKS) as hook:
            await hooks.learnt(hook)
            for each in alerts:
                await hook.receive(hooks.body(each), "alertmanager")
                await hooks.settled(hook)
            transport = httpx.ASGITransport(create_app(hook))
            name = next(iter(hook.enricher.incidents)).id
            async with httpx.AsyncClient(transport=transport, base_url="http://hook") as client:
                found = {"list": "/incidents", "incident": f"/incidents/{name}"}
                return {key: (await client.get(path)).text for key, path in found.items()}

    with ThreadPoolExecutor(1) as pool:  # Playwright's loop runs in this one
        shown = pool.submit(asyncio.run, whole()).result()
    messages = [json.loads(r.content) for r in receiver.requests if r.url.host == "slack.example"]
    return shown | {"slack": slack_preview.page(messages[0])}


def shown(browser: Browser, folder: Path, name: str, html: str) -> tuple[Any, list[str]]:
    """Return the page on a phone, with its picture beside it, and everything untoward that happened."""
    file = folder / f"{name}.html"
    file.write_text(html, encoding="utf-8")
    page, untoward = opened(browser, file, 390, 844)
    page.screenshot(path=folder / f"{name}.png", full_page=True)
    return page, untoward


def test_on_a_phone_the_answer_is_on_the_first_screen(browser: Browser, tmp_path: Path) -> None:
    alerts = [hooks.alert("web"), hooks.alert("checkout", name="Slow")]
    for name, html in pages(tmp_path, hooks.Workers(), *alerts).items():
        page, untoward = shown(browser, tmp_path, name, html)
        box = page.get_by_text("payment (service) is very likely the origin (87%)").first.bounding_box()
        assert untoward == []
        assert box["y"] + box["height"] < 844
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_telemetry_and_labels_wrote_is_text(browser: Browser, tmp_path: Path) -> None:
    finding = {"headline": HOSTILE, "name": HOSTILE, "candidates": [HOSTILE], "not_checked": [HOSTILE]}
    finding |= {"steps": [["Root cause", HOSTILE, HOSTILE]], "path": [HOSTILE, "web"], "look_at": [HOSTILE]}
    alerts = [hooks.alert("web", name=HOSTILE, labels={"job": HOSTILE}, annotations={"summary": HOSTILE})]
    for name, html in pages(tmp_path, hooks.Workers(**finding), *alerts).items():
        page, untoward = shown(browser, tmp_path, f"hostile-{name}", html)
        made = page.evaluate("document.querySelectorAll('img, script, a[href^=javascript], main b').length")
        assert (untoward, made) == ([], 0)
        assert "<img src=x onerror=alert(1)>" in page.locator("body").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
