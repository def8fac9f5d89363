"""Ids of traces and spans numbered anew: random ones would be half of a recording's size and say nothing."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def numbered(spans: pa.Table, logs: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return both tables with ids that count from 1 in the order of the spans; equal ids stay equal."""
    links = pc.list_flatten(spans["links"].combine_chunks())
    for name, digits in (("trace_id", 32), ("span_id", 16)):
        named = [spans[name].combine_chunks(), logs[name].combine_chunks(), links.field(name)]
        if name == "span_id":
            named.append(spans["parent_span_id"].combine_chunks())
        old = pc.drop_null(pa.concat_arrays(named)).unique()
        new = pa.array([f"{number:0{digits}x}" for number in range(1, len(old) + 1)])
        spans, logs = (_renamed(table, name, old, new) for table in (spans, logs))
        if name == "span_id":
            spans = _renamed(spans, "parent_span_id", old, new)
        spans = _renamed_links(spans, name, old, new)
    return spans, logs


def _renamed(table: pa.Table, name: str, old: pa.Array, new: pa.Array) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), new.take(pc.index_in(table[name].combine_chunks(), old)))


def _renamed_links(spans: pa.Table, name: str, old: pa.Array, new: pa.Array) -> pa.Table:
    at = spans.schema.get_field_index("links")
    column = spans["links"].combine_chunks()
    inner = column.values
    fields = [
        new.take(pc.index_in(inner.field(field.name), old)) if field.name == name else inner.field(field.name)
        for field in inner.type
    ]
    made = pa.StructArray.from_arrays(fields, fields=list(inner.type), mask=inner.is_null())
    lists = pa.ListArray.from_arrays(column.offsets, made, type=column.type, mask=column.is_null())
    return spans.set_column(at, spans.schema.field(at), lists)
