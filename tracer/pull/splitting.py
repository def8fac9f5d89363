"""Search APIs answer with at most so many traces and have no pages: windows are halved until each answer is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from ..window import Window
from .server import TooMuch

Answer = TypeVar("Answer")


def split(
    window: Window, shortest_ns: int, ask: Callable[[Window], tuple[Answer, int]], limit: int
) -> Iterator[tuple[Window, Answer | None, bool]]:
    """Yield pieces of ``window`` in order, each with its answer and whether that is whole.

    Parameters
    ----------
    window
        Its edges and those of the pieces are multiples of ``shortest_ns``, but for the first and the last.
    shortest_ns
        The resolution of the API; a piece this short is not halved and may be cut, or None when it is too large.
    ask
        Returns the answer for a piece, and how many traces it holds.
    limit
        The most that the API was asked for; an answer this long may be cut.
    """
    pending = [window]
    while pending:
        piece = pending.pop()
        middle = (piece.start_ns + piece.duration_ns // 2) // shortest_ns * shortest_ns
        can_halve = piece.start_ns < middle < piece.end_ns
        answer: Answer | None = None
        try:
            answer, found = ask(piece)
        except TooMuch:
            found = limit
        if found >= limit and can_halve:
            pending += [Window(middle, piece.end_ns), Window(piece.start_ns, middle)]
        else:
            yield piece, answer, found < limit
