"""A pull of one window into a store."""

from __future__ import annotations

from collections.abc import Iterable

from ..batch import Batch, Tally
from ..privacy import Privacy
from ..store import Store
from ..window import HOUR_NS, Window
from .seen import Seen


def store_new(
    store: Store, source: str, window: Window, batches: Iterable[Batch], privacy: Privacy | None = None
) -> Tally:
    """Append the rows that ``store`` does not hold of ``source`` yet, and return the tally of what was appended.

    ``privacy`` None is the default masks. Raises SourceError as what yields the batches and `Store.append` do; what was
    appended before that stays, and the next pull of the window completes it.
    """
    rules, seen, tally = privacy or Privacy(), Seen(), Tally()
    # Traces found in a window reach beyond it.
    seen.prime(store, source, Window(window.start_ns - HOUR_NS, window.end_ns + HOUR_NS))
    for batch in batches:
        rows, keys = seen.new(batch)
        if rows.rows:
            rows = rules.apply(rows)
            store.append(rows)
            seen.add(keys)
        tally.add(rows.tally)
    return tally
