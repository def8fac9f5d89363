"""Whatever the bytes, a reader yields batches in the schemas or raises DecodeError."""

import io
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_formats import sections

from hypocenter.errors import DecodeError
from hypocenter.tracer.batch import concat
from hypocenter.tracer.detect import READERS
from hypocenter.tracer.reader import Reader
from hypocenter.tracer.schema import SIGNALS
from hypocenter.tracer.source import Source, decompressed

EXAMPLES = {section.name: section for section in sections()}
# Fragments that formats of text give a meaning, put in where they do not belong.
FRAGMENTS = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"null",
    b"1e999",
    b"-1",
    b"NaN",
]
FRAGMENTS += [b"9" * 25, b"{}", b"[]", b'""', b"true", b"\xef\xbb\xbf", b"\xf0\x9f\x92\xa5", b"#", b"[" * 300]
EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 40), st.sampled_from(FRAGMENTS) | st.binary(max_size=8)),
    min_size=1,
    max_size=6,
)


def mutated(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for position, removed, inserted in edits:
        at = position % (len(content) + 1)
        content = content[:at] + inserted + content[at + removed :]
    return content


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.NAME)
@settings(
    max_examples=int(os.environ.get("HYPOCENTER_FUZZ_EXAMPLES", "5000")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(edits=EDITS)
def test_mutated_example_is_read_or_refused(reader: Reader, edits: list[tuple[int, int, bytes]]) -> None:
    section = EXAMPLES[reader.NAME]
    content = mutated(section.content, edits)
    source = Source(section.file_name, decompressed(io.BytesIO(content)))
    assert isinstance(reader.matches(source.head(), source.file_name), bool)
    try:
        batch = concat(reader.read(source))
    except DecodeError:
        return
    for signal, table in batch.tables.items():
        assert table.schema.equals(SIGNALS[signal])
        table.validate(full=True)
