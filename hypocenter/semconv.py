"""Names of the OpenTelemetry semantic conventions (v1.44) that hypocenter reads, newest generation first."""

from typing import Final

KIND_UNSPECIFIED: Final = 0
KIND_INTERNAL: Final = 1
KIND_SERVER: Final = 2
KIND_CLIENT: Final = 3
KIND_PRODUCER: Final = 4
KIND_CONSUMER: Final = 5

STATUS_UNSET: Final = 0
STATUS_OK: Final = 1
STATUS_ERROR: Final = 2

# Span column of our schema -> attribute names, in the order of preference.
SPAN_ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "peer_service": ("service.peer.name", "peer.service", "faas.invoked_name"),
    "peer_address": ("server.address", "net.peer.name", "network.peer.address", "net.peer.ip", "net.sock.peer.addr"),
    "db_system": ("db.system.name", "db.system"),
    "db_name": ("db.namespace", "db.name"),
    "rpc_system": ("rpc.system.name", "rpc.system"),
    "http_status": ("http.response.status_code", "http.status_code"),
    "messaging_system": ("messaging.system",),
    "messaging_destination": ("messaging.destination.template", "messaging.destination.name", "messaging.destination"),
    "messaging_operation": ("messaging.operation.type", "messaging.operation"),
    "error_type": ("error.type", "exception.type"),
}

# Identity column -> resource attribute names, in the order of preference.
RESOURCE_ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "service": ("service.name",),
    "service_namespace": ("service.namespace",),
    "service_version": ("service.version",),
    "environment": ("deployment.environment.name", "deployment.environment"),
    "cluster": ("k8s.cluster.name", "k8s.cluster.uid"),
    "instance": ("service.instance.id",),
    "pod": ("k8s.pod.name",),
    "node": ("k8s.node.name", "host.name"),
}
