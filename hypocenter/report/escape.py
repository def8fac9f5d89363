"""What Markdown would obey, escaped; the same for the report, the notebook and the hook."""

from __future__ import annotations

import re

from ..legible import visible

# Also what only some readers obey: bare addresses, mentions, tables, formulas.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&@:$])")


def for_markdown(text: str) -> str:
    """Return text with everything escaped that Markdown would read, on one line.

    >>> print(for_markdown("[a](http://x) *b*"))
    \\[a\\]\\(http\\://x\\) \\*b\\*
    """
    return _MARKDOWN.sub(r"\\\1", visible(text))
