"""Trace and span ids, and the sampling threshold that travels with them."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8
_HEX: Final = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), "<u2")
_NONE: Final = np.empty(0, "u1")
_WHOLE: Final = 2**56  # sampling thresholds are 56-bit fractions
_LARGEST: Final = 2**63 - 1
_THRESHOLD: Final = r"(?:^|,)[ \t]*ot=(?:[^,]*;)?th:(?P<th>[0-9a-f]{1,14})[ \t]*(?:[;,]|$)"


def to_hex(ids: pa.BinaryArray, width: int) -> pa.StringArray:
    """Return ids as lower-case hex; null where one is not ``width`` bytes long or is all zero."""
    n = len(ids)
    lengths = pc.binary_length(ids).fill_null(0).to_numpy(zero_copy_only=False)
    right = lengths == width
    offsets = np.frombuffer(ids.buffers()[1], "i4")[ids.offset : ids.offset + n + 1] if n else np.zeros(1, "i4")
    content = np.frombuffer(ids.buffers()[2], "u1")[offsets[0] : offsets[-1]] if offsets[-1] > offsets[0] else _NONE
    whole = content if right.all() else content[np.repeat(right, lengths)]
    nonzero = right.copy()
    nonzero[right] = whole.reshape(-1, width).any(axis=1)
    if not nonzero.all():
        whole = whole.reshape(-1, width)[nonzero[right]].reshape(-1)
    ends = np.zeros(n + 1, "i4")
    np.cumsum(np.where(nonzero, 2 * width, 0), out=ends[1:])
    valid = None if nonzero.all() else pa.py_buffer(np.packbits(nonzero, bitorder="little"))
    return pa.StringArray.from_buffers(n, pa.py_buffer(ends), pa.py_buffer(_HEX[whole]), valid)


def adjusted_milli(trace_states: pa.StringArray) -> np.ndarray:
    """Return the adjusted count of each span, in thousandths, from the threshold in its W3C trace state.

    ``ot=th:`` holds 1-14 hex digits, padded with zeros on the right to T; the count is ``2^56 / (2^56 - T)``, here
    times 1000 and rounded to the nearest integer, halves up (25 % sampled is 4000, one in three 3000). Without a
    threshold that can be read it is 1000.
    """
    unique = trace_states.dictionary_encode()
    found = pc.extract_regex(unique.dictionary, _THRESHOLD)
    digits = found.field("th").to_pylist() if len(found) else []
    counts = [1000 if text is None else _milli(int(text.ljust(14, "0"), 16)) for text in digits]
    codes = unique.indices.fill_null(len(counts)).to_numpy(zero_copy_only=False)
    found_counts: np.ndarray = np.array([*counts, 1000], "i8")[codes]
    return found_counts


def trace_state_of(milli: int) -> str:
    """Return the trace state whose `adjusted_milli` is ``milli``; empty for an unsampled span."""
    if milli <= 1000:
        return ""
    kept = 1 if milli == _LARGEST else (_WHOLE * 1000 * 2 + milli) // (2 * milli)
    digits = f"{_WHOLE - kept:014x}".rstrip("0") or "0"
    return f"ot=th:{digits}"


def _milli(threshold: int) -> int:
    kept = _WHOLE - threshold
    return min((_WHOLE * 1000 * 2 + kept) // (2 * kept), _LARGEST)
