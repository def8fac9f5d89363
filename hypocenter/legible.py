"""Text from elsewhere made legible: what a terminal or a page would obey is replaced, what is too long is cut."""

from __future__ import annotations


def visible(text: str) -> str:
    """Return text on one line in which characters that a terminal or a page would obey are replaced.

    >>> visible("a\\x1b[2Jb\\nc")
    'a�[2Jb c'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def duration(value_s: float) -> str:
    """Return a time of so many seconds, to three digits.

    >>> duration(0.0123), duration(1.5)
    ('12.3 ms', '1.5 s')
    """
    return f"{value_s * 1e3:.3g} ms" if abs(value_s) < 1 else f"{value_s:.3g} s"


def shortened(text: str, limit: int) -> str:
    """Return text of at most ``limit`` characters, an ellipsis where it was cut.

    >>> shortened("abcdef", 4), shortened("ab cdef", 4)
    ('abc…', 'ab…')
    """
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
