"""Metrics: a real Prometheus that scrapes the services, the broker and the exporter."""

from __future__ import annotations

import json

import httpx

from ..scrape import Target
from .cluster import Cluster
from .exporter import EXPORTER_PORT
from .servers import binary, free_port
from .wiring import BROKER, METRICS_PORT, SERVICES

SCRAPE_EVERY_S = 2
# Of a runtime or of the scrape and not of a service, or the shape of a distribution, most of a recording otherwise.
_DROPPED = "|".join(
    (
        ".*_(bucket|created)|.*_(body|request|response)_size_.*|.*_returned_rows_.*|target_info|otel_scope_info",
        "(python|process|nodejs|v8js|scrape|telemetry|erlang)_.*",
        "rabbitmq_([abd-pr-z].*|c[a-gi-np-z].*|channel_.*|channels_.*|connection_.*|consumer_.*|queue_[a-ln-z].*|queues.*)",
        "rabbitmq_queue_messages(_.*(bytes|ram|paged_out|persistent).*)?",
    )
)


class Prometheus:
    """Scrapes what the cluster says now (file-based discovery), and gives its samples back."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._targets = cluster.folder / "targets.json"
        program = binary("prometheus", "prometheus")
        self.refresh()
        config = cluster.folder / "prometheus.json"
        drop = [{"source_labels": ["__name__"], "regex": _DROPPED, "action": "drop"}]
        job = {"honor_labels": True, "metric_relabel_configs": drop}
        files = [{"files": [str(self._targets)], "refresh_interval": "1s"}]
        exporter = [{"targets": [f"{cluster.network.host}:{EXPORTER_PORT}"]}]
        configs = [
            {"job_name": "pods", "file_sd_configs": files, **job},
            {"job_name": "exporter", "static_configs": exporter, **job},
        ]
        every = {"scrape_interval": f"{SCRAPE_EVERY_S}s", "scrape_timeout": f"{SCRAPE_EVERY_S}s"}
        config.write_text(json.dumps({"global": every, "scrape_configs": configs}))
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        options = [f"--config.file={config}", f"--storage.tsdb.path={cluster.folder / 'prometheus'}"]
        cluster.processes.start("prometheus", [program, *options, f"--web.listen-address=127.0.0.1:{port}"])

    def refresh(self) -> None:
        """Write who is to be scraped."""
        groups = []
        for run in self._cluster.running.values():
            if run.pod.service in SERVICES or run.pod.service == BROKER:
                port = METRICS_PORT if run.pod.service in SERVICES else "15692"
                path = "/metrics" if run.pod.service in SERVICES else "/metrics/per-object"
                labels = {**Target(run.pod, 0, 0).labels, "__metrics_path__": path}
                groups.append({"targets": [f"{self._cluster.network.address(run.pod.name)}:{port}"], "labels": labels})
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps(groups))
        new.replace(self._targets)

    def read(self, start_ns: int, end_ns: int) -> bytes:
        """Return the raw samples of a window as the query API's JSON."""
        seconds = (end_ns - start_ns) / 1e9
        query = {"query": f'{{job=~".+"}}[{int(seconds * 1000)}ms]', "time": str(end_ns / 1e9)}
        answer = httpx.get(f"{self._url}/api/v1/query", params=query, timeout=60)
        answer.raise_for_status()
        return answer.content
