"""What a pod's process is told by its environment: who it is, where its files are, and how it is instrumented."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..plan import Pod
from .wiring import METRICS_PORT, SERVICES

ROOT = Path(__file__).resolve().parents[2]


def of_pod(
    pod: Pod,
    folder: Path,
    address: str,
    collector_url: str,
    node_packages: Path,
    peers: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    """Return the variables of a service's pod; ``peers``: addresses by name, where there is no name server."""
    resource = {
        "service.namespace": "shop",
        "service.version": pod.version,
        "service.instance.id": pod.instance,
        "deployment.environment.name": "lab",
        "k8s.namespace.name": "shop",
        "k8s.deployment.name": pod.service,
        "k8s.pod.name": pod.name,
        "k8s.node.name": pod.node,
    }
    return {
        "LAB_SERVICE": pod.service,
        "LAB_ENDPOINTS": json.dumps(SERVICES[pod.service].endpoints),
        "LAB_CONFIG": str(folder / "config.json"),
        "LAB_HURT": str(folder / "hurt.json"),
        "LAB_VOLUME": str(folder / "volume"),
        "LAB_ADDRESS": address,
        "LAB_PEERS": json.dumps(peers),
        "PYTHONPATH": str(ROOT),
        "NODE_PATH": str(node_packages / "node_modules"),
        "OTEL_SERVICE_NAME": pod.service,
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={value}" for key, value in resource.items()),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector_url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": address,
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(METRICS_PORT),
        "OTEL_BSP_SCHEDULE_DELAY": "2000",
        "OTEL_BLRP_SCHEDULE_DELAY": "2000",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
        "OTEL_NODE_RESOURCE_DETECTORS": "env",
        "OTEL_NODE_ENABLED_INSTRUMENTATIONS": "http,express,undici,pg,ioredis,amqplib",
    }
