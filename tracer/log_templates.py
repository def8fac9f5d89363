"""The constant part of log lines, found by regular expressions over whole columns."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_LENGTH = 400
_SEVERITY_ERROR = 17
_FAILURE = r"(?i)\b(error|fatal|critical|panic|exception|traceback)\b"
_PLACE = r"(?P<place>[\w.]+#\d+)"
_WORDS_KEPT = 12
_STEPS = (
    (r"(?i)(trace|span)[ _-]?id[:=]\s*\S+", " "),
    (r"\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}\b|\b[0-9a-fA-F]{16,}\b|0x[0-9a-fA-F]+|\d+(?:[.:,]\d+)*", " "),
    # Parameters in brackets, braces and quotes are values; a bare [word] is a name.
    (r"\[[^\[\]]*[:：=][^\[\]]*\]|\([^()]*\)|\{[^{}]*\}|\"[^\"]*\"", " "),
    (r"[^A-Za-z_]+", " "),
    (r"(^| )[A-Za-z_]( [A-Za-z_])*( |$)", " "),
    (r"^ +| +$", ""),
    (rf"^((?:\S+ ){{{_WORDS_KEPT - 1}}}\S+) .*$", r"\1"),
)


def templates(bodies: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the template of each log line: its code place, if it names one, and its first words.

    >>> line = "16:42:22.1 INFO c.Cart#53 TraceID: ab SpanID: cd [get][cart id: 17]"
    >>> templates(pa.array([line]))[0].as_py()
    'c.Cart#53 INFO Cart get'
    """
    encoded = (bodies.combine_chunks() if isinstance(bodies, pa.ChunkedArray) else bodies).dictionary_encode()
    text = pc.utf8_slice_codeunits(encoded.dictionary, 0, _LENGTH)
    place = pc.fill_null(pc.struct_field(pc.extract_regex(text, _PLACE), "place"), "")
    for pattern, replacement in _STEPS:
        text = pc.replace_substring_regex(text, pattern, replacement)
    text = pc.utf8_trim_whitespace(pc.binary_join_element_wise(place, text, " "))
    return text.take(encoded.indices)


def tells_failure(logs: pa.Table) -> pa.ChunkedArray:
    """Return, by record, whether its severity, or its text where there is none, tells of a failure."""
    severity = logs["severity"]
    words = pc.match_substring_regex(pc.utf8_slice_codeunits(logs["body"], 0, _LENGTH), _FAILURE)
    return pc.if_else(pc.greater(severity, 0), pc.greater_equal(severity, _SEVERITY_ERROR), words)
