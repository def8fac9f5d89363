"""What one replica is told when it starts: who it is, whom it may call, and where its telemetry goes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

NAMESPACE = "shop"
ENVIRONMENT = "sample"


@dataclass(frozen=True, slots=True)
class Replica:
    """``peers``: host and port of every replica by service; ``database``: a libpq connection string."""

    service: str
    version: str
    instance: str
    pod: str
    node: str
    port: int
    peers: dict[str, list[str]]
    database: str
    collector: str
    seed: int

    @property
    def resource(self) -> dict[str, str]:
        """The resource attributes by the semantic conventions."""
        return {
            "service.name": self.service,
            "service.namespace": NAMESPACE,
            "service.version": self.version,
            "service.instance.id": self.instance,
            "deployment.environment.name": ENVIRONMENT,
            "k8s.namespace.name": NAMESPACE,
            "k8s.pod.name": self.pod,
            "k8s.node.name": self.node,
        }

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Replica:
        """Return the replica written by `to_json`."""
        return cls(**json.loads(text))
