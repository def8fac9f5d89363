"""OTLP: protobuf and JSON requests of traces, metrics and logs to tables."""
