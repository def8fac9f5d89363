"""A file of 5 GB of OTLP/JSON streams within 1 GB of memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from benchmarks.formats import streamed
from benchmarks.generate import span_tables
from benchmarks.measure import measure
from hypocenter.tracer.otlp import JSON, encode_traces

BYTES = 5_000_000_000
LIMIT_BYTES = 1_000_000_000
REQUEST_SPANS = 8192


def write_requests(file: BinaryIO, size: int) -> int:
    """Write OTLP/JSON, a request a line, until ``size`` bytes are reached; return the spans written.

    The requests repeat: how their values differ is nothing to a reader, which keeps none of them.
    """
    tables = span_tables(16 * REQUEST_SPANS, batch_rows=REQUEST_SPANS)
    lines = [(table.num_rows, encode_traces(table, JSON) + b"\n") for table in tables]
    spans = number = 0
    while file.tell() < size:
        rows, line = lines[number % len(lines)]
        file.write(line)
        spans, number = spans + rows, number + 1
    return spans


@pytest.mark.timeout(0)
def test_large_file_streams_within_a_gigabyte(tmp_path: Path, scaled: Callable[[int], int]) -> None:
    size = scaled(BYTES)
    free = shutil.disk_usage(tmp_path).free
    if free < 3 * size:
        pytest.skip(f"{size:,} bytes are to be written, and only {free:,} are free")
    path = tmp_path / "spans.jsonl"
    try:
        with path.open("wb") as file:
            spans = write_requests(file, size)
        measured = measure(streamed, path=str(path))
    finally:
        path.unlink(missing_ok=True)
    assert measured.result == {"rows": spans, "dropped": 0}
    assert measured.peak_rss_bytes < LIMIT_BYTES
    speed, peak = size / measured.cpu_seconds / 1e6, measured.peak_rss_bytes / 1e6
    print(f"\nlarge file: {size:,} bytes, {spans:,} spans, {speed:.0f} MB a processor second, peak {peak:.0f} MB")
