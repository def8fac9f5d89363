"""What a node's runtime, proxy and network know of the cluster, asked for once a second."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import urllib3

_PATHS = {
    "pods": "/api/v1/pods",
    "nodes": "/api/v1/nodes",
    "services": "/api/v1/services",
    "settings": "/api/v1/configmaps?fieldSelector=metadata.name%3Dsettings",
    "passwords": "/api/v1/secrets?fieldSelector=metadata.name%3Dpassword",
    "slices": "/apis/discovery.k8s.io/v1/endpointslices",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
}
_SERVICE = "kubernetes.io/service-name"


@dataclass
class Seen:
    """Objects of the shops in ``namespaces``, by kind; an API server that does not answer leaves what was known."""

    url: str
    ca: str
    token: str
    namespaces: list[str]
    objects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)

    def start(self, stop: threading.Event) -> None:
        """Look once, and go on in the background."""
        context = ssl.create_default_context(cafile=self.ca)
        headers = {"Authorization": f"Bearer {self.token}"}
        http = urllib3.PoolManager(ssl_context=context, retries=False, timeout=20, headers=headers)

        def look() -> None:
            for name, path in _PATHS.items():
                with suppress(urllib3.exceptions.HTTPError, OSError):
                    answer = http.request("GET", self.url + path)
                    if answer.status == 200:
                        self.objects[name] = answer.json()["items"]

        def keep_looking() -> None:
            while not stop.wait(1.0):
                look()

        look()
        for namespace in self.namespaces:
            self.passwords[namespace] = self.password(namespace)
        threading.Thread(target=keep_looking, daemon=True).start()

    @staticmethod
    def local(address: str) -> str:
        """Return where a pod's address is on loopback."""
        return "127." + address.partition(".")[2]

    def _of(self, kind: str, namespace: str) -> Iterator[dict[str, Any]]:
        return (one for one in self.objects[kind] if one["metadata"]["namespace"] == namespace)

    def running(self, app: str) -> dict[str, dict[str, Any]]:
        """Return the pods of an app, by uid, whose containers run."""
        nodes = {
            node["metadata"]["name"]
            for node in self.objects["nodes"]
            # A node that broke down is found out later.
            if node["metadata"]["labels"].get("kubelet") != "broken"
            and any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
        }
        return {
            pod["metadata"]["uid"]: pod
            for pod in self.objects["pods"]
            if pod["metadata"]["namespace"] in self.namespaces
            and pod["metadata"].get("labels", {}).get("app") == app
            and "deletionTimestamp" not in pod["metadata"]
            and pod["spec"].get("nodeName") in nodes
            and pod["status"].get("podIP")
            and all("running" in c["state"] for c in pod["status"].get("containerStatuses", [{"state": ()}]))
        }

    def routes(self, namespace: str, service: str) -> bool:
        """Tell whether a Service exists, so that the Ingress has somebody to ask."""
        return any(one["metadata"]["name"] == service for one in self._of("services", namespace))

    def endpoint(self, namespace: str, service: str) -> tuple[str, int]:
        """Return address and port of a ready endpoint; a Service without one refuses, as kube-proxy does."""
        found = [
            (self.local(endpoint["addresses"][0]), part["ports"][0]["port"])
            for part in self._of("slices", namespace)
            if part["metadata"]["labels"].get(_SERVICE) == service and part.get("ports")
            for endpoint in part["endpoints"] or ()
            if endpoint["conditions"].get("ready")
        ]
        if not found:
            raise ConnectionRefusedError(111, "Connection refused")
        return random.choice(found)

    def admits(self, namespace: str, app: str, address: str) -> bool:
        """Tell whether the policies of a namespace let a pod with this address talk to an app."""
        ruling = [
            policy["spec"]
            for policy in self._of("policies", namespace)
            if policy["spec"]["podSelector"].get("matchLabels", {}).get("app") == app
        ]
        callers = {
            pod["metadata"]["labels"]["app"]
            for pod in self._of("pods", namespace)
            if self.local(pod["status"].get("podIP", "")) == address
        }
        admitted = [
            peer["podSelector"]["matchLabels"]["app"]
            for spec in ruling
            for rule in spec.get("ingress", ())
            for peer in rule["from"]
        ]
        return not ruling or bool(callers & set(admitted))

    def setting(self, namespace: str, key: str) -> str:
        """Return what a container reads in its mounted ConfigMap."""
        return next((str(one["data"][key]) for one in self._of("settings", namespace)), "0")

    def password(self, namespace: str) -> str:
        """Return what a container reads in its mounted Secret."""
        return next((str(one["data"]["key"]) for one in self._of("passwords", namespace)), "")

    def first_password(self, namespace: str) -> str:
        """Return the password that the database was set up with."""
        return self.passwords[namespace]
