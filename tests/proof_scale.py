"""How much of a proof runs: `HYPOCENTER_PROOF_SCALE` is the share of its full size, 1 is all, a twentieth the rule."""

from __future__ import annotations

import os

SHARE = float(os.environ.get("HYPOCENTER_PROOF_SCALE", "0.05"))


def scaled_down(full: int) -> int:
    """Return the part of a full size to run, at least one."""
    return max(1, round(full * SHARE))
