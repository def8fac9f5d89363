"""Slack's blocks, for incoming webhooks and what is compatible with them."""

from __future__ import annotations

from typing import Any

from ...legible import shortened
from ..escape import for_slack
from ..payload import Alert, Notification
from ..sink import Outgoing, Sink, to_json
from ..text import Enrichment

_ALERTS = 5
_HEADER, _SECTION, _NOTICE = 150, 2900, 300  # characters; Slack refuses more (150, 3000) or cuts (notices)
_COLOURS = {"firing": "#b3263a", "resolved": "#2e7d32"}


class Slack(Sink):
    """The alert's name, the line that says it, the lines that prove it, and where to look."""

    def render(self, note: Notification, added: Enrichment | None) -> Outgoing:
        """Return a message with a plain text for the phone's lock screen."""
        state = "RESOLVED" if note.status == "resolved" else "FIRING"
        title = f"{state}: {note.title or 'alert'}"
        notice = f"{title}: {added.summary}" if added else title
        message = {
            "text": for_slack(notice, _NOTICE),
            "attachments": [{"color": _COLOURS.get(note.status, _COLOURS["firing"]), "blocks": blocks(note, added)}],
        }
        return Outgoing(to_json(message))


def blocks(note: Notification, added: Enrichment | None) -> list[dict[str, Any]]:
    """Return the message's blocks; everything that telemetry or labels wrote is escaped."""
    state = "Resolved" if note.status == "resolved" else "Firing"
    # A header takes plain text only, in which nothing is read.
    title = shortened(f"{state}: {note.title or 'alert'}", _HEADER)
    found: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}]
    if added is not None:
        found.append(_section(f"*{for_slack(added.summary, _SECTION)}*"))
        if added.lines:
            each = _SECTION // len(added.lines) - 40
            text = "\n".join(f"*{label}*  {for_slack(content, each)}" for label, content in added.lines)
            found.append(_section(text[:3000]))
    listed = [_alert_line(alert) for alert in note.alerts[:_ALERTS]]
    more = len(note.alerts) - _ALERTS + note.truncated
    if more > 0:
        listed.append(f"and {more} more")
    if listed:
        found.append({"type": "context", "elements": [{"type": "mrkdwn", "text": "\n".join(listed)}]})
    if added is not None and added.url:
        buttons = [_button("Report", added.url, "primary")]
        if added.role != "resolved" or added.finding:
            buttons += [_button("Right", f"{added.url}#right"), _button("Wrong origin", f"{added.url}#wrong")]
        found.append({"type": "actions", "elements": buttons})
    return found


def _alert_line(alert: Alert) -> str:
    text = alert.annotations.get("summary") or alert.annotations.get("description") or ""
    labels = " ".join(f"{k}={v}" for k, v in sorted(alert.labels.items()) if k != "alertname")
    return for_slack(f"{alert.name}: {text}" if text else f"{alert.name} {labels}", 300)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _button(text: str, url: str, style: str | None = None) -> dict[str, Any]:
    button = {"type": "button", "text": {"type": "plain_text", "text": text}, "url": url}
    return button | ({"style": style} if style else {})
