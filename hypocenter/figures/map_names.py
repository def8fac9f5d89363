"""Which names fit on a map: the important ones first, none over another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Where a name may stand relative to its node, in the order of preference: plotly's name, and the box's middle.
_SIDES = (
    ("bottom center", (0.0, -1.0)),
    ("top center", (0.0, 1.0)),
    ("middle right", (1.0, 0.0)),
    ("middle left", (-1.0, 0.0)),
)
_CHARACTER_WIDTH = 0.58
_LINE_HEIGHT = 1.25


def fitting(
    centres_px: np.ndarray,
    radii_px: Sequence[float],
    texts: Sequence[str],
    font_px: Sequence[float],
    width_px: float,
    most: int,
    taken: np.ndarray | None = None,
) -> list[str | None]:
    """Return the side on which each text fits, or None; earlier nodes come first.

    Parameters
    ----------
    centres_px : (n, 2), pixels, y upwards.
    width_px : width of the drawing; no text leaves it.
    most : how many texts are placed at most.
    taken : (m, 4), left, bottom, right and top of what else is written there already.
    """
    radii = np.asarray(radii_px)
    sides: list[str | None] = []
    boxes = np.empty((0, 4)) if taken is None else taken
    most += len(boxes)
    discs = np.column_stack([centres_px - radii[:, None], centres_px + radii[:, None]])
    for i, ((x, y), text, font) in enumerate(zip(centres_px, texts, font_px, strict=True)):
        if len(boxes) == most:
            return sides + [None] * (len(texts) - i)
        half_w, half_h = (side / 2 for side in size_px(text, font))
        found = None
        for side, (dx, dy) in _SIDES:
            cx, cy = x + dx * (radii[i] + half_w + 2), y + dy * (radii[i] + half_h + 1)
            box = np.array([cx - half_w, cy - half_h, cx + half_w, cy + half_h])
            if box[0] < 0 or box[2] > width_px:
                continue
            free_of_names = not np.any(_overlap(boxes, box))
            hit = _overlap(discs, box)
            hit[i] = False
            if free_of_names and not hit.any():
                found = side
                boxes = np.vstack([boxes, box])
                break
        sides.append(found)
    return sides


def size_px(text: str, font_px: float) -> tuple[float, float]:
    """Return about how wide and high lines of text are."""
    lines = text.split("\n")
    return max(map(len, lines)) * font_px * _CHARACTER_WIDTH, len(lines) * font_px * _LINE_HEIGHT


def _overlap(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    return np.asarray((boxes[:, 0] < box[2]) & (boxes[:, 2] > box[0]) & (boxes[:, 1] < box[3]) & (boxes[:, 3] > box[1]))
