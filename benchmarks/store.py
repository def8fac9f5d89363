"""The store against the limits of the disk and of the file format, measured in the same run."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import SECOND_NS, Window

from .generate import fill, span_tables, temporary_store
from .measure import measure

DESCRIPTION = "durable append, window reads, many segments and size of the store, against the limits of disk and format"

_BATCH_ROWS = (8192, 65_536)
_LINK_COLUMNS = ["trace_id", "span_id", "parent_span_id", "kind", "service", "start_ns", "duration_ns"]
_WINDOW_NS = 10 * SECOND_NS
_SEGMENTS = (10, 60, 360, 3600)
_ROWS_OF_SMALL_SEGMENT = 100


def run(spans: int = 1_000_000, seed: int = 0) -> dict[str, Any]:
    """Return rates in rows per second, times in seconds, sizes in bytes; ``spans`` is the largest store of the run."""
    tables = list(span_tables(min(spans, 1_000_000), seed=seed))
    return {
        "append": {f"batch_{rows}": _append(pa.concat_tables(tables), rows) for rows in _BATCH_ROWS},
        "size": _size(tables),
        "window": _windows(spans, seed),
        "small_segments": _small_segments(seed),
    }


def _append(spans: pa.Table, batch_rows: int) -> dict[str, float]:
    """Compare durable appends with the same bytes written raw and with Parquet that is not synced."""
    batches = [spans.slice(at, batch_rows).combine_chunks() for at in range(0, spans.num_rows, batch_rows)]
    with tempfile.TemporaryDirectory(prefix="hypocenter-benchmark-") as folder:
        store = Store(Path(folder) / "store", create=True)
        appended = _seconds(lambda: [store.append(Batch({"spans": batch})) for batch in batches])
        contents = [Path(path).read_bytes() for path in store.paths("spans")]
        raw = _seconds(lambda: [_write_raw(Path(folder) / f"raw-{i}", c) for i, c in enumerate(contents)])
        plain = _seconds(
            lambda: [
                pq.write_table(batch, Path(folder) / f"plain-{i}", compression="zstd", compression_level=1)
                for i, batch in enumerate(batches)
            ]
        )
    return {
        "rows_per_s": spans.num_rows / appended,
        "raw_write_and_fsync_rows_per_s": spans.num_rows / raw,
        "parquet_without_fsync_rows_per_s": spans.num_rows / plain,
        "ratio_to_parquet_without_fsync": plain / appended,
    }


def _write_raw(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _size(tables: list[pa.Table]) -> dict[str, float]:
    """Compare the bytes of a span in the store, in memory and in Parquet as pyarrow writes it by default."""
    rows = sum(table.num_rows for table in tables)
    with tempfile.TemporaryDirectory(prefix="hypocenter-benchmark-") as folder:
        store = Store(Path(folder) / "store", create=True)
        stored = 0
        for table in tables:
            (segment,) = store.append(Batch({"spans": table}))
            stored += segment.path.stat().st_size
        default = Path(folder) / "default.parquet"
        pq.write_table(pa.concat_tables(tables), default)
        return {
            "bytes_per_span": stored / rows,
            "default_parquet_bytes_per_span": default.stat().st_size / rows,
            "in_memory_bytes_per_span": sum(table.nbytes for table in tables) / rows,
        }


def _windows(spans: int, seed: int) -> dict[str, Any]:
    """Read ten seconds out of, and the whole of, stores of doubling size, each in a process of its own."""
    found: dict[str, Any] = {}
    sizes = [spans // 8, spans // 4, spans // 2, spans]
    for size in sizes:
        with temporary_store(size, seed=seed) as store:
            window, whole = (measure(call, path=str(store.path)) for call in (read_window, scan_whole))
        found[f"spans_{size}"] = {
            "window": {**window.result, "peak_rss_bytes": window.peak_rss_bytes},
            "whole_scan": {**whole.result, "peak_rss_bytes": whole.peak_rss_bytes},
            "window_to_whole": window.result["seconds"] / whole.result["seconds"],
        }
    largest, smallest = (found[f"spans_{size}"] for size in (sizes[-1], sizes[0]))
    for kind in ("window", "whole_scan"):
        found[f"{kind}_growth_per_doubling"] = (largest[kind]["seconds"] / smallest[kind]["seconds"]) ** (1 / 3)
    return found


def read_window(path: str) -> dict[str, float]:
    """Return rows and seconds of reading ten seconds in the middle of a store."""
    store = Store(path)
    bounds = store.bounds("spans")
    assert bounds is not None
    middle = (bounds.start_ns + bounds.end_ns) // 2
    window = Window(middle, middle + _WINDOW_NS)
    return _best(lambda: store.read("spans", window, _LINK_COLUMNS).num_rows)


def scan_whole(path: str) -> dict[str, float]:
    """Return rows and seconds of reading a whole store as a stream."""
    store = Store(path)
    return _best(lambda: sum(batch.num_rows for batch in store.scan("spans", columns=_LINK_COLUMNS)))


def _small_segments(seed: int) -> dict[str, Any]:
    """List and read many small segments, and the same rows in one file."""
    found: dict[str, Any] = {}
    for count in _SEGMENTS:
        with tempfile.TemporaryDirectory(prefix="hypocenter-benchmark-") as folder:
            store = Store(Path(folder) / "store", create=True)
            fill(store, _ROWS_OF_SMALL_SEGMENT, batch_rows=_ROWS_OF_SMALL_SEGMENT, seed=seed)
            (segment,) = store.segments("spans")
            rows = store.read("spans")
            for copy in range(1, count):
                shutil.copyfile(segment.path, segment.path.with_name(f"{copy}.parquet"))
            one = Path(folder) / "one.parquet"
            pq.write_table(pa.concat_tables([rows] * count), one)
            listed = measure(list_segments, path=str(store.path))
            whole = measure(scan_whole, path=str(store.path))
            single = measure(read_file, path=str(one))
        found[f"segments_{count}"] = {
            "footers_seconds": listed.result["seconds"],
            "read_seconds": whole.result["seconds"],
            "one_file_read_seconds": single.result["seconds"],
        }
    return found


def list_segments(path: str) -> dict[str, float]:
    """Return the number of segments and the seconds of reading every footer, once: they are cached."""
    store = Store(path)
    return _best(lambda: len(store.segments("spans")), tries=1)


def read_file(path: str) -> dict[str, float]:
    """Return rows and seconds of a Parquet file, read with the columns of `scan_whole`."""
    return _best(lambda: pq.read_table(path, columns=_LINK_COLUMNS).num_rows)


def _best(count: Callable[[], int], tries: int = 3) -> dict[str, float]:
    """Return the rows and the fewest seconds of some tries: what others do on the machine only adds."""
    taken = []
    for _ in range(tries):
        begun = time.perf_counter()
        rows = count()
        taken.append(time.perf_counter() - begun)
    return {"rows": rows, "seconds": min(taken)}


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
