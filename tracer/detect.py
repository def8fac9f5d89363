"""Which format a source is in, told by its content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypocenter.errors import DecodeError

from .batch import Batch, Tally
from .reader import Reader
from .readers import (
    arrow_table,
    csv_table,
    dependency_graph,
    jaeger_json,
    jaeger_model_json,
    kubernetes_json,
    kubernetes_yaml,
    nezha_logs,
    nezha_metrics,
    nezha_traces,
    otlp_json,
    otlp_protobuf,
    parquet_table,
    petshop_metrics,
    prometheus_json,
    prometheus_text,
    rcaeval_label,
    rcaeval_logs,
    rcaeval_traces,
    skywalking_csv,
    tempo_search,
    trace_api_json,
    wide_csv,
    zipkin_json,
)
from .source import HEAD_BYTES, LONG_HEAD_BYTES, Source
from .units import mend_units

# The first that matches reads the source: what is recognised by more stands before what is recognised by less.
READERS: tuple[Reader, ...] = (
    parquet_table,
    arrow_table,
    kubernetes_json,
    otlp_json,
    prometheus_json,
    trace_api_json,
    tempo_search,
    jaeger_json,
    jaeger_model_json,
    zipkin_json,
    kubernetes_yaml,
    nezha_traces,
    nezha_logs,
    nezha_metrics,
    rcaeval_traces,
    rcaeval_logs,
    rcaeval_label,
    skywalking_csv,
    petshop_metrics,
    csv_table,
    dependency_graph,
    wide_csv,
    prometheus_text,
    otlp_protobuf,
)


def detect(source: Source, among: Sequence[Reader] | None = None) -> Reader:
    """Return the first reader (of ``among``, else of all) that matches.

    Raises DecodeError that names the known formats when none does, or that the source is empty.
    """
    readers = READERS if among is None else among
    head = source.head()
    for reader in readers:
        if reader.matches(head, source.file_name):
            return reader
    if len(head) == HEAD_BYTES and head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        long_head = source.head(LONG_HEAD_BYTES)
        for reader in readers:
            if reader.matches(long_head, source.file_name):
                return reader
    if not head:
        raise DecodeError(source.name, "byte 0", source.damage or "the file is empty")
    known = ", ".join(reader.NAME for reader in readers)
    raise DecodeError(source.name, "line 1", f"in none of the known formats ({known})")


def decode(source: Source, reader: Reader | None = None) -> Iterator[Batch]:
    """Yield the batches of ``source``, units mended; one that broke off is counted after all that came before."""
    yield from map(mend_units, (reader or detect(source)).read(source))
    if source.damage:
        tally = Tally()
        tally.drop("rest of a source that broke off", f"{source.name}: {source.damage}")
        yield Batch(tally=tally)
