"""The fast route for protobuf traces: ptars decodes to nested Arrow arrays.

ptars (the extra ``fast``) leaves the values inside of arrays and maps serialized; only those are parsed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from .any_value import text_of
from .nested import Leaves, Undecided, double_texts, flattened
from .spans import RawSpans


def is_available() -> bool:
    """Tell whether ptars is installed."""
    return _handler() is not None


@cache
def _handler() -> Any:
    try:
        from ptars import HandlerPool
    except ImportError:
        return None
    message = ExportTraceServiceRequest.DESCRIPTOR
    return HandlerPool([message.file]).get_for_message(message)


def gather(payloads: Sequence[bytes]) -> RawSpans:
    """Return the spans of serialized requests, as `spans.gather` does; raises protobuf's DecodeError or Undecided."""
    return flattened(_decoded(payloads).column("resource_spans"), _LEAVES)


def _decoded(payloads: Sequence[bytes]) -> pa.RecordBatch:
    # ptars takes some corrupt bytes, e.g. a group that is never closed, and leaves out what follows without a word.
    # Parsing in C costs about a seventh of this route and refuses them.
    for payload in payloads:
        ExportTraceServiceRequest.FromString(payload)
    try:
        return _handler().list_to_record_batch(list(payloads))
    except ValueError:
        raise Undecided from None
    except BaseException as error:
        # The Rust code has panicked on bytes that were cut inside of a varint, and a panic is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise Undecided from None


def _containers(field: str) -> Callable[[pa.Array], pa.StringArray]:
    def texts(structs: pa.Array) -> pa.StringArray:
        found = []
        for items in structs.field("values").to_pylist():
            value = AnyValue()
            container = getattr(value, field)
            container.SetInParent()
            for item in items:
                container.values.add().MergeFromString(item)
            found.append(text_of(value))
        return pa.array(found, pa.string())

    return texts


_LEAVES: Final = Leaves(
    ids=lambda ids: ids,
    times=lambda times: times,
    values={
        "bool_value": lambda column: column.cast(pa.string()),
        "int_value": lambda column: column.cast(pa.string()),
        "double_value": double_texts,
        "array_value": _containers("array_value"),
        "kvlist_value": _containers("kvlist_value"),
        "bytes_value": lambda column: pa.array([text_of(AnyValue(bytes_value=b)) for b in column.to_pylist()]),
        "string_value_strindex": lambda column: pa.array(["null"] * len(column)),  # a dictionary of profiles alone
    },
)
