"""Text from telemetry, made harmless for Slack; addresses without what they keep secret."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..legible import shortened, visible

# Slack gives meaning to these even where < and > are escaped; a zero-width space after them takes it away.
_SLACK_FORMAT = re.compile(r"([*_~`])")
_BREAK = "\N{ZERO WIDTH SPACE}"


def for_slack(text: str, limit: int = 2900) -> str:
    """Return text for a ``mrkdwn`` field: no mention, link or format of it is read.

    >>> for_slack("<!channel> *a* & b")
    '&lt;!channel&gt; \\u200b*\\u200ba\\u200b*\\u200b &amp; b'
    """
    # Slack cuts what is too long in the middle of an escape, so it is cut before.
    cut = shortened(visible(text), limit)
    escaped = cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SLACK_FORMAT.sub(rf"{_BREAK}\1{_BREAK}", escaped)


def redacted(url: str) -> str:
    """Return an address as logs may show it: paths and queries of webhooks are secrets.

    >>> redacted("https://user:pw@hooks.slack.com/services/T0/B0/x?y=z")
    'https://hooks.slack.com/…'
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "…"
    bare = parts.path in ("", "/") and not parts.query
    return f"{parts.scheme}://{host}{port}" + ("" if bare else "/…")
