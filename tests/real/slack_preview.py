"""Slack's blocks as a page: close enough to see on a phone what a message looks like."""

from __future__ import annotations

import html
import re
from typing import Any

_STYLE = """body { font: 15px/1.46 Lato, system-ui, sans-serif; margin: 0; padding: 12px; color: #1d1c1d }
body { overflow-wrap: anywhere }
.message { border-left: 4px solid; padding-left: 12px } .header { font-size: 18px; font-weight: 900; margin: 4px 0 8px }
.section { margin: 8px 0; white-space: pre-line } .context { color: #616061; font-size: 12px; white-space: pre-line }
.actions span { display: inline-block; border: 1px solid #bbb; border-radius: 4px; padding: 6px 12px }
.actions span { margin: 8px 6px 0 0; font-weight: 700 }
.actions .primary { background: #007a5a; color: #fff }"""


def mrkdwn(text: str) -> str:
    """Return HTML of a mrkdwn text: bold as Slack reads it, and the three escapes; everything else is text."""
    plain = html.escape(html.unescape(text), quote=False)
    return re.sub(r"(?<![\w\u200b])\*([^*\n\u200b]+?)\*(?![\w\u200b])", r"<b>\1</b>", plain)


def page(message: dict[str, Any]) -> str:
    """Return a message as a page."""
    (attachment,) = message["attachments"]
    parts = []
    for block in attachment["blocks"]:
        kind = block["type"]
        if kind == "actions":
            inside = "".join(
                f'<span class="{each.get("style", "")}">{html.escape(each["text"]["text"])}</span>'
                for each in block["elements"]
            )
        elif kind == "context":
            inside = "<br>".join(mrkdwn(each["text"]) for each in block["elements"])
        else:
            read = html.escape if block["text"]["type"] == "plain_text" else mrkdwn
            inside = read(block["text"]["text"])
        parts.append(f'<div class="{kind}">{inside}</div>')
    return (
        f"<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f'<div class="message" style="border-color:{attachment["color"]}">{"".join(parts)}</div>'
    )
