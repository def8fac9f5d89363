"""``hypocenter export``: what a store holds, and what is made of it, in the formats of other tools."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from .places import StorePlace, file_at
from .windows import window_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from ..tracer.store import Store
    from ..tracer.window import Window

_TABLE: tuple[str, ...] = ("parquet", "csv")
# The first format is the default.
_FORMATS: dict[str, tuple[str, ...]] = {
    "spans": (*_TABLE, "otlp-json"),
    **dict.fromkeys(("series", "points", "logs", "events", "objects"), _TABLE),
    **dict.fromkeys(("calls", "edges", "operations", "instances"), _TABLE),
    "graph": ("json", *_TABLE),
    "ranking": ("json", *_TABLE),
}
_SUFFIXES: dict[str, str] = {".parquet": "parquet", ".csv": "csv", ".jsonl": "otlp-json", ".json": "json"}


def export(
    what: Annotated[str, typer.Argument(metavar="WHAT", help=", ".join(_FORMATS))],
    store: StorePlace,
    since: Annotated[
        str | None, typer.Option(help="Start: RFC 3339, epoch, or relative to now (-1h). By default the first row.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End, likewise. By default the last row.")] = None,
    out: Annotated[str, typer.Option("--out", help="A file, s3://..., or - for standard output.")] = "-",
    written: Annotated[
        str | None, typer.Option("--format", help="parquet, csv, otlp-json or json; by default as the file is named.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Send spans to this OTLP/HTTP address (http://localhost:4318) instead.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE to send along with each request; may be repeated.")
    ] = None,
) -> None:
    """Write telemetry, calls, rollups, the graph or the ranking of a window as Parquet, CSV, JSON or OTLP."""
    from ..tracer.store.remote import store_at

    if what not in _FORMATS:
        raise typer.BadParameter(f"expected {', '.join(_FORMATS)}, not {what!r}", param_hint="WHAT")
    if endpoint is not None:
        if what != "spans" or out != "-" or written not in (None, "otlp-json"):
            raise typer.BadParameter("an endpoint takes spans, and as OTLP only", param_hint="--endpoint")
        opened = store_at(store)
        _send(opened, window_of(opened, since, until, signal="spans"), endpoint, header or [])
        _tell(opened)
        return
    if header:
        raise typer.BadParameter("only requests to an --endpoint have headers", param_hint="--header")
    chosen = _format(what, written, out)
    if out == "-" and chosen == "parquet" and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is not for a terminal; name a file or redirect it", param_hint="--out")
    opened = store_at(store)
    if what == "ranking":
        with _sink(out) as sink:
            _write_ranking(opened, since, until, chosen, sink)
    else:
        from ..tracer.schema import SIGNALS

        window = window_of(opened, since, until, signal=what if what in SIGNALS and what != "series" else None)
        with _sink(out) as sink:
            _write(opened, what, window, chosen, sink)
    _tell(opened)


def _format(what: str, written: str | None, out: str) -> str:
    fitting = _FORMATS[what]
    named = _SUFFIXES.get(Path(out).suffix.lower(), fitting[0])
    chosen: str = written or ("otlp-json" if what == "spans" and named == "json" else named)
    if chosen not in fitting:
        raise typer.BadParameter(
            f"{what} can be written as {', '.join(fitting)}, not {chosen!r}", param_hint="--format"
        )
    return chosen


def _write(store: Store, what: str, window: Window | None, chosen: str, sink: BinaryIO) -> None:
    if what == "graph":
        import json

        from ..graph.dependency_graph import DependencyGraph

        graph = DependencyGraph.read(store, window)
        if chosen == "json":
            text = json.dumps(graph.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
            sink.write(f"{text}\n".encode())
        else:
            _write_frame(graph.to_frame(), chosen, sink)
        return
    batches, schema, total = _tables(store, what, window)
    counted = _Counted(batches, what, total)
    if chosen == "otlp-json":
        from ..tracer.export import requests
        from ..tracer.otlp import JSON

        replaced: list[int] = []
        for line, _ in requests(counted, JSON, replaced):
            sink.write(line)
        _tell_replaced(sum(replaced))
    else:
        _write_table(counted, schema, chosen, sink)
    typer.echo(f"{what}: {counted.rows:,} rows as {chosen}", err=True)


def _tables(store: Store, what: str, window: Window | None) -> tuple[Iterable[pa.RecordBatch], pa.Schema, int | None]:
    """Return the rows, their schema, and how many there are if that is known beforehand."""
    from ..tracer.schema import SIGNALS

    if what in SIGNALS:
        total = sum(segment.rows for segment in store.segments(what, window)) if what != "series" else None
        return store.scan(what, window), SIGNALS[what], total
    if what == "calls":
        from ..graph.scan_calls import calls_schema, scan_calls

        return scan_calls(store, window), calls_schema(), None
    from ..graph.cache import rollups
    from ..graph.rollup import SCHEMAS, empty

    covered = window or store.bounds("spans")
    table = getattr(empty() if covered is None else rollups(store, covered), what)
    return table.to_batches(), SCHEMAS[what], table.num_rows


def _write_ranking(store: Store, since: str | None, until: str | None, chosen: str, sink: BinaryIO) -> None:
    import json

    from .rank import ranked

    incident = ranked(store.place, None, since, until, (None, None), None, "hypocenter")
    if chosen == "json":
        sink.write(f"{json.dumps(incident.ranking.to_dict(), indent=2)}\n".encode())
    else:
        _write_frame(incident.to_frame().reset_index(), chosen, sink)
    typer.echo(f"ranking: {incident.ranking.outcome}", err=True)


def _write_frame(frame: pd.DataFrame, chosen: str, sink: BinaryIO) -> None:
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    large = {pa.large_string(): pa.string()}
    schema = pa.schema([field.with_type(large.get(field.type, field.type)) for field in table.schema])
    _write_table(table.cast(schema).to_batches(), schema, chosen, sink)


def _write_table(batches: Iterable[pa.RecordBatch], schema: pa.Schema, chosen: str, sink: BinaryIO) -> None:
    from ..tracer.export import write_csv, write_parquet

    (write_parquet if chosen == "parquet" else write_csv)(batches, schema, sink)


def _send(store: Store, window: Window | None, endpoint: str, header: list[str]) -> None:
    from ..tracer.export import requests
    from ..tracer.otlp import PROTOBUF
    from ..tracer.otlp.post import TracePoster, traces_url

    pairs = [text.partition("=") for text in header]
    if any(not name.strip() or not mark for name, mark, _ in pairs):
        raise typer.BadParameter("expected NAME=VALUE", param_hint="--header")
    try:
        url = traces_url(endpoint)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--endpoint") from error
    poster = TracePoster(url, {name.strip(): value.strip() for name, _, value in pairs})
    batches, _, total = _tables(store, "spans", window)
    counted = _Counted(batches, "spans", total)
    replaced: list[int] = []
    sent = 0
    try:
        for body, spans in requests(counted, PROTOBUF, replaced):
            poster.post(body)
            sent += spans
    finally:
        _tell_replaced(sum(replaced))
        typer.echo(f"{poster.url}: {sent:,} spans sent", err=True)
        if poster.rejected:
            typer.echo(
                f"the receiver rejected {poster.rejected:,} of them: {poster.reason or 'no reason given'}", err=True
            )


class _Counted:
    """Batches on their way, counted, with a progress bar on standard error if that is a terminal."""

    def __init__(self, batches: Iterable[pa.RecordBatch], what: str, total: int | None) -> None:
        self._batches, self._what, self._total, self.rows = batches, what, total, 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(self._what, total=self._total)
            for batch in self._batches:
                yield batch
                self.rows += batch.num_rows
                progress.update(task, completed=self.rows)


@contextmanager
def _sink(out: str) -> Iterator[BinaryIO]:
    """Yield standard output, or a file that appears under its name when it is whole."""
    from ..errors import SourceError

    if out == "-":
        stream: Any = typer.get_binary_stream("stdout")
        yield stream
        stream.flush()
        return
    with file_at(out) as path:
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file:
                yield file
            partial.replace(path)
        except OSError as error:
            raise SourceError(f"{path}: cannot be written ({error.strerror or error}); nothing was") from error
        finally:
            partial.unlink(missing_ok=True)


def _tell_replaced(count: int) -> None:
    if count:
        typer.echo(f"{count:,} spans have ids that OTLP cannot hold; digests stand in for them", err=True)


def _tell(store: Store) -> None:
    for problem in store.problems:
        typer.echo(f"skipped: {problem}", err=True)
