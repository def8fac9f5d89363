"""The files of the benchmark of formats are in the format that they are named after, and lose no row."""

from pathlib import Path

import pytest

from benchmarks.formats import _FORMATS, streamed
from benchmarks.generate import span_tables
from hypocenter.tracer.detect import detect
from hypocenter.tracer.source import open_source


@pytest.mark.parametrize("name", _FORMATS)
def test_written_file_is_of_its_format_and_read_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / "spans"
    _, write = _FORMATS[name]
    write(next(iter(span_tables(256, batch_rows=256))), path)
    with open_source(path) as source:
        found = detect(source)
    assert name == found.NAME
    assert streamed(str(path)) == {"rows": 256, "dropped": 0}
