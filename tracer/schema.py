"""The tables of telemetry, each declared once: column, type, and its meaning and unit as field metadata."""

import pyarrow as pa


def _column(name: str, kind: pa.DataType, meaning: str, *, required: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=not required, metadata={"meaning": meaning})


_TEXT, _INT, _SMALL = pa.string(), pa.int64(), pa.int8()
# Every value is JSON text, so that 1, 1.0, "1" and true stay different; bytes are {"bytesValue": base64}.
ATTRIBUTES = pa.map_(_TEXT, _TEXT)
LINKS = pa.list_(pa.struct([("trace_id", _TEXT), ("span_id", _TEXT)]))

_IDENTITY = [
    _column("service", _TEXT, "service.name, null if unknown"),
    _column("service_namespace", _TEXT, "service.namespace"),
    _column("service_version", _TEXT, "service.version"),
    _column("environment", _TEXT, "deployment.environment.name"),
    _column("cluster", _TEXT, "k8s.cluster.name"),
    _column("instance", _TEXT, "service.instance.id"),
    _column("pod", _TEXT, "k8s.pod.name"),
    _column("node", _TEXT, "k8s.node.name, else host.name"),
]

SPANS = pa.schema(
    [
        _column("trace_id", _TEXT, "lower-case hex", required=True),
        _column("span_id", _TEXT, "lower-case hex", required=True),
        _column("parent_span_id", _TEXT, "null for a root"),
        _column("name", _TEXT, "span name; the operation", required=True),
        _column(
            "kind", _SMALL, "OTLP: 0 unspecified 1 internal 2 server 3 client 4 producer 5 consumer", required=True
        ),
        _column("status", _SMALL, "OTLP: 0 unset 1 ok 2 error", required=True),
        _column("status_message", _TEXT, "status description"),
        _column("start_ns", _INT, "nanoseconds since the epoch", required=True),
        _column("duration_ns", _INT, "nanoseconds, never negative", required=True),
        *_IDENTITY,
        _column("scope", _TEXT, "instrumentation scope name"),
        _column("peer_service", _TEXT, "name the caller gives its callee"),
        _column("peer_address", _TEXT, "server.address or its older names"),
        _column("db_system", _TEXT, "db.system.name"),
        _column("db_name", _TEXT, "db.namespace"),
        _column("rpc_system", _TEXT, "rpc.system.name"),
        _column("http_status", pa.int32(), "HTTP response status code"),
        _column("messaging_system", _TEXT, "messaging.system"),
        _column("messaging_destination", _TEXT, "destination template, else name"),
        _column("messaging_operation", _TEXT, "create send receive process settle"),
        _column("error_type", _TEXT, "error.type"),
        _column(
            "adjusted_milli", _INT, "adjusted count x 1000 from the sampling threshold; 1000 unsampled", required=True
        ),
        _column("attributes", ATTRIBUTES, "span attributes, JSON values"),
        _column("resource", ATTRIBUTES, "resource attributes, JSON values"),
        _column("events", _TEXT, "span events as a JSON array"),
        _column("links", LINKS, "span links"),
        _column("source", _TEXT, "file or endpoint it came from", required=True),
    ]
)

SERIES = pa.schema(
    [
        _column("series_id", _TEXT, "digest of name, attributes and resource", required=True),
        _column("name", _TEXT, "metric name", required=True),
        _column("kind", _TEXT, "gauge sum histogram exponential_histogram summary unknown", required=True),
        _column("unit", _TEXT, "UCUM unit"),
        _column("temporality", _TEXT, "cumulative or delta, null if not applicable"),
        _column("monotonic", pa.bool_(), "of sums"),
        _column("service", _TEXT, "owning service, null if unknown"),
        _column("pod", _TEXT, "k8s.pod.name"),
        _column("node", _TEXT, "k8s.node.name"),
        _column("peer", _TEXT, "callee service, of a series that describes an edge (service -> peer)"),
        _column("attributes", ATTRIBUTES, "data point and resource attributes, JSON values"),
        _column("source", _TEXT, "file or endpoint it came from", required=True),
    ]
)

POINTS = pa.schema(
    [
        _column("series_id", _TEXT, "joins series", required=True),
        _column("time_ns", _INT, "nanoseconds since the epoch", required=True),
        _column("value", pa.float64(), "sample; null for stale, absent or histogram"),
        _column("histogram", _TEXT, "JSON of a histogram, exponential histogram or summary point"),
    ]
)

LOGS = pa.schema(
    [
        _column("time_ns", _INT, "nanoseconds since the epoch", required=True),
        _column("severity", _SMALL, "OTLP severity number, 0 unspecified", required=True),
        _column("body", _TEXT, "message text", required=True),
        _column("trace_id", _TEXT, "lower-case hex, null if none"),
        _column("span_id", _TEXT, "lower-case hex, null if none"),
        _column("service", _TEXT, "service.name"),
        _column("pod", _TEXT, "k8s.pod.name"),
        _column("node", _TEXT, "k8s.node.name"),
        _column("attributes", ATTRIBUTES, "record and resource attributes, JSON values"),
        _column("source", _TEXT, "file or endpoint it came from", required=True),
    ]
)

EVENTS = pa.schema(
    [
        _column("time_ns", _INT, "nanoseconds since the epoch", required=True),
        _column("kind", _TEXT, "kubernetes rollout config alert deploy scale", required=True),
        _column("reason", _TEXT, "short machine reason"),
        _column("message", _TEXT, "human text"),
        _column("object_kind", _TEXT, "Kubernetes kind"),
        _column("object_uid", _TEXT, "Kubernetes uid"),
        _column("namespace", _TEXT, "Kubernetes namespace"),
        _column("object_name", _TEXT, "Kubernetes name"),
        _column("service", _TEXT, "service it concerns"),
        _column("attributes", ATTRIBUTES, "JSON values"),
        _column("source", _TEXT, "file or endpoint it came from", required=True),
    ]
)

OBJECTS = pa.schema(
    [
        _column("kind", _TEXT, "Kubernetes kind", required=True),
        _column("uid", _TEXT, "Kubernetes uid", required=True),
        _column("namespace", _TEXT, "null for cluster-wide kinds"),
        _column("name", _TEXT, "Kubernetes name", required=True),
        _column("owner_uid", _TEXT, "uid of the controlling owner"),
        _column("labels", ATTRIBUTES, "labels, JSON values"),
        _column("spec_digest", _TEXT, "digest of the specification; never of a Secret's data"),
        _column("status", _TEXT, "JSON of the status, and of what else the server keeps of the object (`metadata`)"),
        _column("valid_from_ns", _INT, "first seen in this version", required=True),
        _column("valid_to_ns", _INT, "replaced or deleted at; null while current"),
        _column("source", _TEXT, "file or endpoint it came from", required=True),
        _column("spec", _TEXT, "JSON of what the object asks for or holds; of a Secret its type alone"),
        _column("created_ns", _INT, "creationTimestamp, null for a template"),
        _column("resource_version", _TEXT, "metadata.resourceVersion, opaque"),
    ]
)

SIGNALS: dict[str, pa.Schema] = {
    "spans": SPANS,
    "series": SERIES,
    "points": POINTS,
    "logs": LOGS,
    "events": EVENTS,
    "objects": OBJECTS,
}
# The column that orders a signal in time; series carry none.
TIME_COLUMN = {
    "spans": "start_ns",
    "points": "time_ns",
    "logs": "time_ns",
    "events": "time_ns",
    "objects": "valid_from_ns",
}
SCHEMA_VERSION = 1
