"""A page in a browser, and everything untoward that happens to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

# Markup and scripts of every kind, for names that telemetry may bring.
HOSTILE = "<b>p</b>&lt;<a href='javascript:1'></a><img src=x onerror=alert(1)></script><script>alert(3)</script>{{7*7}}"


def watch(page: Page, own: str) -> list[str]:
    """Return a list that will hold what a page does beside being shown.

    That is: requests for anything but itself at ``own``, console messages, errors and dialogs.
    """
    untoward: list[str] = []
    page.on("request", lambda request: untoward.append(request.url) if request.url != own else None)
    page.on("console", lambda message: untoward.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: untoward.append(str(error)))
    page.on("dialog", lambda dialog: (untoward.append(f"dialog {dialog.message}"), dialog.dismiss()))
    return untoward


def opened(browser: Browser, path: Path, width: int, height: int, scheme: Any = None) -> tuple[Any, list[str]]:
    """Return a page that has loaded and, where it has figures, drawn them, and everything untoward that happened."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    untoward = watch(page, path.as_uri())
    page.goto(path.as_uri())
    if page.locator(".plot").count():
        page.wait_for_selector("body.drawn")
    return page, untoward
