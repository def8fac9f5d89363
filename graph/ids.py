"""Ids of spans as integers, so that many spans fit into memory."""

from __future__ import annotations

import binascii

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Ints = np.ndarray
# Odd, so that products with distinct 64-bit ids are distinct.
_MULTIPLE, _REST_MULTIPLE = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_HEX_OF_A_TRACE = 32
_HEX = "^[0-9a-fA-F]"


class OpaqueIds(ValueError):
    """Ids that are not all hex of one length, and so cannot be told apart as integers."""


def hashes(ids: pa.Array) -> Ints:
    """Return 64 bits of each opaque id, uint64, distinct but for chance."""
    found: Ints = pd.util.hash_array(np.asarray(ids.to_pylist(), object), categorize=False)
    return found


def keys_of_named(trace: pa.Array | pa.ChunkedArray, span: pa.Array | pa.ChunkedArray, are_hex: bool) -> Ints:
    """Return a key of each span that is named by its ids, uint64, as `span_keys` of the spans themselves."""
    trace, span = (c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in (trace, span))
    keys = span_keys(hashes(trace), np.uint64(0), hashes(span))
    if are_hex:
        # Whatever else is named is no span that was recorded.
        long = pc.utf8_lpad(trace, _HEX_OF_A_TRACE, "0")
        is_hex = pc.and_(pc.match_substring_regex(long, _HEX + "{32}$"), pc.match_substring_regex(span, _HEX + "{16}$"))
        at = np.flatnonzero(pc.fill_null(is_hex, False).to_numpy(zero_copy_only=False))
        words, spans = (integers(column.take(pa.array(at)), count) for column, count in ((long, 2), (span, 1)))
        keys[at] = span_keys(words[:, 1], words[:, 0], spans[:, 0])
    return keys


def span_keys(trace: Ints, trace_rest: Ints | np.uint64, span: Ints) -> Ints:
    """Return a key of each span from the numbers of its ids, distinct but for chance (1 in 2^64 a pair)."""
    keys: Ints = trace * _MULTIPLE + trace_rest * _REST_MULTIPLE + span
    return keys


def integers(ids: pa.Array, words: int = 0) -> Ints:
    """Return hex ids as rows of 64-bit words, shape (n, 1 or 2)."""
    if not len(ids):
        return np.empty((0, words or 2), np.uint64)
    _, offsets, data = ids.buffers()
    ends = np.frombuffer(offsets, np.int32, len(ids) + 1, ids.offset * 4)
    width = int(ends[1] - ends[0])
    if width not in ((16, 32) if not words else (16 * words,)) or (np.diff(ends) != width).any():
        raise OpaqueIds(f"expected hex of {16 * words or '16 or 32'} digits, as in {ids[0].as_py()!r}")
    try:
        raw = binascii.unhexlify(memoryview(data)[int(ends[0]) : int(ends[-1])])
    except binascii.Error as error:
        raise OpaqueIds(str(error)) from error
    return np.frombuffer(raw, ">u8").astype(np.uint64).reshape(len(ids), width // 16)


def hex_texts(words: Ints) -> pa.Array:
    """Return the hex ids of rows of 64-bit words, shape (n, 1 or 2), which `integers` takes.

    >>> hex_texts(np.array([[1, 2**64 - 1]], np.uint64))[0].as_py()
    '0000000000000001ffffffffffffffff'
    """
    width = 16 * words.shape[1]
    offsets = (np.arange(len(words) + 1) * width).astype(np.int32)
    digits = binascii.hexlify(words.astype(">u8").tobytes())
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(offsets), pa.py_buffer(digits))
