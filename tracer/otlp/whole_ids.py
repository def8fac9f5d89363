"""Ids of the widths that OTLP requires, for spans of formats whose ids are shorter, or any text."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from ..schema import LINKS
from .ids import SPAN_ID_BYTES, TRACE_ID_BYTES


def with_whole_ids(spans: pa.Table) -> tuple[pa.Table, int]:
    """Return the spans with trace ids of 16 and span ids of 8 bytes in hex, and how many spans got a new identity.

    Shorter hex is padded with zeros on the left, which keeps its value. Anything else becomes a digest of itself, the
    same wherever it occurs, so that parents and links still meet.
    """
    found = spans
    changed = pa.repeat(False, spans.num_rows)
    for name, width in (("trace_id", TRACE_ID_BYTES), ("span_id", SPAN_ID_BYTES), ("parent_span_id", SPAN_ID_BYTES)):
        ids, is_new = _whole(spans[name].combine_chunks(), width)
        found = found.set_column(found.schema.get_field_index(name), found.schema.field(name), ids)
        changed = pc.or_(changed, is_new)
    links = _whole_links(spans["links"].combine_chunks())
    found = found.set_column(found.schema.get_field_index("links"), found.schema.field("links"), links)
    return found, pc.sum(changed).as_py() or 0


def _whole(ids: pa.Array, width: int) -> tuple[pa.Array, pa.Array]:
    digits = 2 * width
    fits = pc.and_(
        pc.match_substring_regex(ids, f"^[0-9a-f]{{1,{digits}}}$"), pc.invert(pc.match_substring_regex(ids, "^0*$"))
    )
    is_new = pc.fill_null(pc.invert(fits), False)
    padded = pc.utf8_lpad(ids, digits, "0")
    if not is_new.true_count:
        return padded, is_new
    encoded = ids.dictionary_encode()
    digests = [
        hashlib.blake2b(text.encode(), digest_size=width, person=b"hypocenter").hexdigest()
        for text in encoded.dictionary.to_pylist()
    ]
    return pc.if_else(is_new, pa.array(digests, pa.string()).take(encoded.indices), padded), is_new


def _whole_links(links: pa.Array) -> pa.Array:
    if not pc.sum(pc.list_value_length(links)).as_py():
        return links
    traces, span_ids = links.flatten().flatten()
    whole = [_whole(traces, TRACE_ID_BYTES)[0], _whole(span_ids, SPAN_ID_BYTES)[0]]
    entries = pa.StructArray.from_arrays(whole, fields=list(LINKS.value_type))
    lengths = pc.fill_null(pc.list_value_length(links), 0)
    ends = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
    return pa.ListArray.from_arrays(ends, entries, mask=pc.is_null(links)).cast(LINKS)
