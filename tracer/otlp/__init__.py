"""OTLP: protobuf and JSON requests of traces, metrics and logs to tables."""

from .decode import JSON, PROTOBUF, decode_logs, decode_metrics, decode_traces
from .encode import encode_traces

__all__ = ["JSON", "PROTOBUF", "decode_logs", "decode_metrics", "decode_traces", "encode_traces"]
