"""Whatever the bytes, a reader yields batches in the schemas or raises DecodeError."""

import re
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import FRAGMENTS, Sample, read_or_refuse, try_mutations
from test_formats import PAGE, sections

from hypocenter.errors import SourceError
from hypocenter.tracer.detect import READERS
from hypocenter.tracer.mapping import read_map
from hypocenter.tracer.reader import Reader

EXAMPLES = {section.name: Sample(section.file_name, section.content) for section in sections()}
# Reading a histogram of a few lines takes 10 ms, most of it in pandas: a counter alone stands for most mutations.
COUNTER = Sample("example", b"".join(EXAMPLES["prometheus-text"].content.splitlines(keepends=True)[:2]))
SAMPLES = {name: [example] for name, example in EXAMPLES.items()}
SAMPLES["prometheus-text"] += [COUNTER] * 4
EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 40), st.sampled_from(FRAGMENTS) | st.binary(max_size=8)),
    min_size=1,
    max_size=6,
)
shrunk = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for position, removed, inserted in edits:
        at = position % (len(content) + 1)
        content = content[:at] + inserted + content[at + removed :]
    return content


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.NAME)
def test_mutated_example_is_read_or_refused(reader: Reader) -> None:
    try_mutations(
        reader.NAME,
        SAMPLES[reader.NAME],
        range(5000),
        partial(read_or_refuse, reader),
    )


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.NAME)
@shrunk
@given(edits=EDITS)
def test_edited_example_is_read_or_refused(reader: Reader, edits: list[tuple[int, int, bytes]]) -> None:
    example = EXAMPLES[reader.NAME]
    read_or_refuse(reader, example.file_name, edited(example.content, edits))


MAP, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
METRICS_MAP = """
signal: metrics
columns: {name: kpi, time_ns: {column: t, unit: s}, value: v, service: cmdb_id}
attributes: rest
"""
MAPPED = {
    "spans": (
        MAP,
        b"TraceId,SpanId,ParentId,cmdb_id,operation,timestamp,duration,type,zone\n"
        b"T,1,,web,get,1700000000000.5,12.25,Entry,eu\nT,2,1,cart,get,1700000000000,7,Other,\n",
    ),
    "metrics": (METRICS_MAP, b"t,cmdb_id,kpi,v,zone\n1700000000,web,cpu,0.5,a\n1700000001,web,cpu,,a\n"),
}


@pytest.mark.parametrize("signal", MAPPED)
def test_mutated_table_under_a_map_is_read_or_refused(signal: str, tmp_path: Path) -> None:
    text, table = MAPPED[signal]
    file = tmp_path / "map.yaml"
    file.write_text(text, encoding="utf-8")
    reader = read_map(file)
    try_mutations(
        f"mapped-{signal}",
        [Sample("table.csv", table)],
        range(1000),
        partial(read_or_refuse, reader),
    )


def map_or_refusal(file: Path, file_name: str, content: bytes) -> None:
    """Read ``content`` as a map, by way of ``file``; anything but a map or a SourceError raises."""
    file.write_bytes(content)
    with suppress(SourceError):
        read_map(file)


def test_mutated_map_is_read_or_refused(tmp_path: Path) -> None:
    maps = [Sample("map.yaml", MAP.encode()), Sample("map.yaml", METRICS_MAP.encode())]
    try_mutations("map", maps, range(1000), partial(map_or_refusal, tmp_path / "map.yaml"))
