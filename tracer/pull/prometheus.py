"""Series of a Prometheus (or what speaks its query API: Mimir, Thanos, VictoriaMetrics) for a window.

Selectors are pulled as they were scraped, by range selectors in instant queries: times and values are the stored ones,
so that counter resets and the time of a change stay visible and pulling twice gives the same points. With a step, and
for expressions, the server evaluates at multiples of the step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from prometheus_api_client import PrometheusConnect

from hypocenter.errors import SourceError

from ..batch import Batch, Tally, table_of
from ..otlp.batches import evened
from ..prometheus_samples import SeriesBook, to_batch
from ..schema import POINTS
from ..window import HOUR_NS, SECOND_NS, Window
from .discovery import selectors, useful
from .matrix import Exemplars, Result, to_points
from .placement import Placement
from .server import Access, NotThere, Server, TooMuch
from .staleness import Staleness

STEP_NS: Final = 15 * SECOND_NS
_SERIES: Final = 2_000  # of one query, about
_SAMPLES: Final = 400_000  # of one answer, about: 10 MB of JSON
_STEPS: Final = 10_000  # servers refuse more than 11,000
_SHORTEST_NS: Final = 10 * SECOND_NS
_LONGEST_NS: Final = 6 * HOUR_NS
_SCRAPE_NS: Final = 15 * SECOND_NS
_SELECTOR: Final = re.compile(r"\s*(?:[a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:\{.*\})?|\{.*\})\s*", re.DOTALL)

Progress = Callable[[float], None]


class Client(Server):
    """A session that checks what a Prometheus answers, and keeps its warnings; the client library asks through it."""

    def __init__(self, url: str, access: Access) -> None:
        super().__init__(url, access, "Prometheus")
        self.warnings: list[str] = []
        connect: Any = PrometheusConnect
        self.api = connect(self.base, session=self, retry=self.retry)

    def parsed(self, body: bytes, content_type: str, place: str) -> Any:
        """Return the JSON of an answer; SourceError when no Prometheus answers in that form."""
        value = super().parsed(body, content_type, place)
        if not isinstance(value, dict) or value.get("status") != "success" or "data" not in value:
            raise SourceError(f"{place}: not a Prometheus: expected status and data in the answer; check the address")
        self.warnings += [str(one) for one in value.get("warnings") or ()]
        return value

    def instant(self, query: str, at_ns: int) -> list[Any]:
        """Return what ``query`` gives at a time."""
        found: list[Any] = self.api.custom_query(query, params={"time": _seconds(at_ns)})
        return found

    def range(self, query: str, first_ns: int, last_ns: int, step_ns: int) -> list[Any]:
        """Return what ``query`` gives at each step, the last included."""
        # The library rounds to whole seconds; its parameters take precedence.
        times = {"start": _seconds(first_ns), "end": _seconds(last_ns)}
        moments = [datetime.fromtimestamp(at // SECOND_NS, UTC) for at in (first_ns, last_ns)]
        found: list[Any] = self.api.custom_query_range(query, *moments, _seconds(step_ns), params=times)
        return found


def fetch(
    url: str,
    window: Window,
    queries: Sequence[str] = (),
    step_ns: int | None = None,
    *,
    access: Access | None = None,
    exemplars: bool = True,
    on_progress: Progress | None = None,
) -> Iterator[Batch]:
    """Yield the series and points of ``window`` in batches of at most 65,536 rows.

    Parameters
    ----------
    url
        The server's address up to, not including, ``/api``.
    window
        Half-open; it is asked for in pieces that keep each answer to about 400,000 samples.
    queries
        Selectors (``up``, ``{namespace="shop"}``) or expressions; none: the useful series are found by name
        (`discovery.useful`).
    step_ns
        None: selectors as they were scraped, expressions each 15 s. Else all at multiples of this.
    access
        Credentials, TLS and bounds.
    exemplars
        Also ask for the exemplars of selectors; they are put on the sample that follows them.
    on_progress
        Hears the share of the pull that is done, from 0 to 1.

    Raises
    ------
    SourceError
        It cannot be reached, refuses, or is no Prometheus. What went out before that stays valid.

    Notes
    -----
    A series' absence is a null one interval after its last sample. A warning of the server (a partial answer) and a
    piece that is too large even at 10 s are counted as dropped.
    """
    client = Client(url, access or Access())
    with client:
        yield from evened(_Pull(client, window, step_ns).run(queries, exemplars, on_progress or (lambda share: None)))


class _Pull:
    def __init__(self, client: Client, window: Window, step_ns: int | None) -> None:
        if step_ns is not None and (step_ns < 10**6 or step_ns % 10**6):
            raise SourceError(f"a step is a whole number of milliseconds, got {step_ns} ns")
        self._client, self._window, self._step_ns = client, window, step_ns
        self._book = SeriesBook(client.base)
        self._exemplars = Exemplars()

    def run(self, queries: Sequence[str], exemplars: bool, on_progress: Progress) -> Iterator[Batch]:
        client, window, tally = self._client, self._window, Tally()
        # Also tells at once whether this is a Prometheus that lets us in.
        asked = list(queries) or self._discovered(tally)
        self._learn_types()
        placement = Placement.of(client, (window.start_ns, window.end_ns - 10**6)) if asked else Placement()
        yield Batch(tally=self._warned(tally))
        for number, query in enumerate(asked):
            is_selector = bool(_SELECTOR.fullmatch(query))
            if exemplars and is_selector:
                yield Batch(tally=self._ask_exemplars(query))
            step_ns = self._step_ns or (None if is_selector else STEP_NS)
            for batch, done_ns in self._pieces(query, step_ns):
                share = (done_ns - window.start_ns) / window.duration_ns
                on_progress((number + share) / len(asked))
                series = placement.place(batch.table("series"))
                yield Batch({**batch.tables, "series": series}, batch.tally)
        tally = Tally()
        if left := self._exemplars.left():
            tally.drop("exemplar without a sample", client.base, left)
        yield Batch(tally=tally)
        on_progress(1.0)

    def _discovered(self, tally: Tally) -> list[str]:
        times = {"start": _seconds(self._window.start_ns), "end": _seconds(self._window.end_ns)}
        found = useful(self._client.api.get_label_values("__name__", params=times))
        if not found:
            tally.drop("no useful series by name; name some (match)", self._client.base)
            return []
        counts = {}
        for selector in selectors(found, {}, 200):
            at_ns = self._window.end_ns - 10**6
            for result in self._client.instant(f"count by (__name__) ({selector})", at_ns):
                counts[result["metric"].get("__name__", "")] = int(float(result["value"][1]))
        return selectors(found, counts, _SERIES)

    def _learn_types(self) -> None:
        # Not every server of this API tells them; names then say as much as they can.
        with suppress(SourceError, LookupError, TypeError, AttributeError):
            for told in self._client.api.get_metric_metadata(""):
                name, kind = str(told["metric_name"]), str(told["type"])
                self._book.types[name] = kind
                if told.get("unit"):
                    self._book.units[name] = str(told["unit"])

    def _ask_exemplars(self, query: str) -> Tally:
        tally = Tally()
        times = {"start": _seconds(self._window.start_ns), "end": _seconds(self._window.end_ns)}
        try:
            answer = self._client.json("/api/v1/query_exemplars", {"query": query, **times})
            self._exemplars.add(answer["data"] or (), tally)
        except NotThere:  # where they are not kept there are none to lose
            pass
        except SourceError as error:
            tally.drop("exemplars not answered", str(error))
        return self._warned(tally)

    def _pieces(self, query: str, step_ns: int | None) -> Iterator[tuple[Batch, int]]:
        """Yield the batch of each piece of the window with its end; their length follows the size of the answers."""
        stale, among = Staleness(step_ns), np.empty(0, np.int64)
        at_ns, end_ns = self._window.start_ns, self._window.end_ns
        length_ns = self._first_length(query, step_ns)
        while at_ns < end_ns:
            upto_ns = min(at_ns + length_ns, end_ns)
            tally = Tally()
            try:
                results = self._ask(query, Window(at_ns, upto_ns), step_ns)
            except TooMuch as error:
                if length_ns > max(_SHORTEST_NS, step_ns or 0):
                    length_ns = max(length_ns // 4, _SHORTEST_NS)
                    continue
                tally.drop("answer too large", f"{query}: {error}")
                results = []
            points = to_points(self._book, results, self._exemplars, tally)
            among = np.union1d(among, points.rows)
            ends = stale.ended(points.rows, points.times, among, upto_ns)
            ids = pa.array(self._book.ids, pa.string()).take(pa.array(ends.row.to_numpy(np.int64)))
            nulls = table_of(POINTS, {"series_id": ids, "time_ns": ends.time_ns.to_numpy(np.int64)}, len(ends))
            table = pa.concat_tables([points.table, nulls])
            at_ns = upto_ns
            yield to_batch(self._book.new_series(), table, self._warned(tally)), at_ns
            if samples := _samples(results):
                length_ns = round(length_ns * min(max(_SAMPLES / samples, 0.25), 4.0))
            length_ns = min(max(length_ns, _SHORTEST_NS), _longest(step_ns))

    def _first_length(self, query: str, step_ns: int | None) -> int:
        count = 1.0
        for at_ns in (self._window.end_ns - 10**6, self._window.start_ns):
            with suppress(SourceError, LookupError, ValueError):
                found = self._client.instant(f"count({query})", at_ns)
                count = max([count, *(float(one["value"][1]) for one in found)])
        steps = max(1, int(_SAMPLES / count))
        return min(max(steps * (step_ns or _SCRAPE_NS), _SHORTEST_NS), _longest(step_ns))

    def _ask(self, query: str, piece: Window, step_ns: int | None) -> list[Result]:
        if step_ns is None:
            # A range selector is closed at its end and, before Prometheus 3, also at its beginning.
            length_ms, last_ns = -(-piece.duration_ns // 10**6), piece.end_ns - 10**6
            found = self._client.instant(f"{query.strip()}[{length_ms}ms]", last_ns)
            return [_since(result, piece) for result in found]
        first_ns = -(-piece.start_ns // step_ns) * step_ns
        last_ns = (piece.end_ns - 1) // step_ns * step_ns
        return self._client.range(query, first_ns, last_ns, step_ns) if first_ns <= last_ns else []

    def _warned(self, tally: Tally) -> Tally:
        """Count the warnings that came since the last call."""
        for text in self._client.warnings:
            tally.drop("partial answer", f"{self._client.base}: {text[:200]}")
        self._client.warnings.clear()
        return tally


def _since(result: Any, piece: Window) -> Any:
    """Return a result without the samples before the piece."""
    first = piece.start_ns / SECOND_NS - 0.0005
    with suppress(LookupError, TypeError, AttributeError):  # malformed ones are told when they are read
        for key in ("values", "histograms"):
            if (found := result.get(key)) and found[0][0] < first:
                result[key] = [one for one in found if one[0] >= first]
    return result


def _samples(results: Sequence[Result]) -> int:
    # A native histogram is as long as a few dozen numbers.
    return sum(len(r.get("values") or ()) + 30 * len(r.get("histograms") or ()) for r in results if isinstance(r, dict))


def _longest(step_ns: int | None) -> int:
    return _LONGEST_NS if step_ns is None else max(_STEPS * step_ns, _SHORTEST_NS)


def _seconds(time_ns: int) -> str:
    return f"{time_ns // SECOND_NS}.{time_ns % SECOND_NS // 10**6:03d}"
