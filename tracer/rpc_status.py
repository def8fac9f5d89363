"""Failures that only the status code of a gRPC call tells."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.semconv import KIND_CLIENT, KIND_SERVER

# Attributes that hold the code, as name or number, in the order of preference; the last one is Envoy's.
RPC_STATUS: Final = ("rpc.response.status_code", "rpc.status_code", "rpc.grpc.status_code", "grpc.status_code")
_NAMES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
# To a server, the other codes are answers as good as OK: its client asked for what it cannot have.
_FAILURES_OF_SERVERS: Final = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")


def with_rpc_status(error_type: pa.Array, code: pa.Array, kind: pa.Array) -> pa.Array:
    """Return the error types, where there is none the name of the gRPC status that is a failure to a span of this kind.

    ``code`` is the value of `RPC_STATUS` as text. Source: OpenTelemetry's conventions for gRPC spans.

    >>> with_rpc_status(pa.array([None, None, "timeout"]), pa.array(["14", "5", "4"]), pa.array([2, 2, 3])).to_pylist()
    ['UNAVAILABLE', None, 'timeout']
    """
    if code.null_count == len(code):
        return error_type
    by_number = pc.index_in(code, pa.array([str(number) for number in range(len(_NAMES))]))
    name = pa.array(_NAMES).take(pc.coalesce(by_number, pc.index_in(code, pa.array(_NAMES))))
    failed = pc.or_(
        pc.and_(pc.equal(kind, KIND_CLIENT), pc.not_equal(name, "OK")),
        pc.and_(pc.equal(kind, KIND_SERVER), pc.is_in(name, pa.array(_FAILURES_OF_SERVERS))),
    )
    return pc.coalesce(error_type, pc.if_else(failed, name, pa.scalar(None, pa.string())))
