"""Shops that were healthy, with a fault in each, watched and listened to by one `hypocenter collect`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from control_plane import ControlPlane
from faults import Fault
from metrics_api import MetricsApi, metrics_api
from shop import SERVICES, node_of, shared, shop
from workloads import node, pods, reason

from hypocenter.analysis.evidence.kubernetes_causes import Finding, causes
from hypocenter.graph.kubernetes import History
from hypocenter.graph.kubernetes_services import Speakers
from hypocenter.incident import RankedIncident
from hypocenter.session import Session
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.kubernetes import Versions, read_versions
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import SECOND_NS, Window
from sample_data.processes import Processes

sys.path.insert(0, str(Path(__file__).parents[2] / "tracer"))
from collecting import Running, collector

HEALTHY = "healthy"
CALLS = [("web", "api"), ("api", "db")]
_HERE = Path(__file__).parent
_QUIET_S, _BAD_S = 90, 75  # of telemetry before the first fault, and after a fault until it is ranked


@dataclass
class Shops:
    """``injected_ns`` is when the fault of a shop was put in, before and after the call."""

    plane: ControlPlane
    collecting: Running
    folder: Path
    ready_ns: int
    injected_ns: dict[str, tuple[int, int]] = field(default_factory=dict)

    def versions(self) -> Versions:
        """Return the versions of every object that the collector stored."""
        return read_versions(self.collecting.store, Window(0, 2**62))

    def findings(self, namespace: str) -> list[Finding]:
        """Return what the evidence says of one shop since all were ready."""
        now_ns = time.time_ns()
        history = History.of(self.versions(), Window(self.ready_ns, now_ns + 1), self.collecting.store.read("events"))
        found = causes(history, Speakers({}, {}, frozenset(SERVICES)), CALLS, now_ns)
        mine = [f for f in found if f.found.namespace == namespace or f.entity == node_of(namespace)]
        return [f for f in mine if not f.is_context]

    def rank(self, namespace: str, within_s: float = 0.0) -> RankedIncident:
        """Return the ranking of one shop's telemetry beside the objects of the whole cluster.

        ``within_s`` is how long the cluster takes to come into the bad state.
        """
        injected_ns = self.injected_ns.get(namespace, (0, self.ready_ns + _QUIET_S * SECOND_NS))[1]
        end_ns = injected_ns + round((_BAD_S + within_s) * SECOND_NS)
        time.sleep(max(end_ns - time.time_ns(), 0) / SECOND_NS)
        store = self.collecting.store
        spans = store.read("spans")
        tables = {signal: store.read(signal) for signal in ("objects", "events")}
        tables["spans"] = spans.filter(pc.equal(spans["service_namespace"], namespace))
        if recordings := os.environ.get("HYPOCENTER_RECORD_SHOPS"):
            window = Window(injected_ns - _QUIET_S * SECOND_NS, end_ns)
            _record(tables, namespace, window, Path(recordings) / namespace)
        own = Store(self.folder / f"{namespace}-{time.monotonic_ns()}", create=True)
        own.append(Batch(tables))
        return Session(own).rank()


def _record(tables: dict[str, pa.Table], namespace: str, window: Window, folder: Path) -> None:
    """Write what concerns one shop, for `tests/analysis/test_kubernetes_recordings.py`."""
    own = [namespace, node_of(namespace), f"volume-{namespace}"]
    shared = pc.is_in(tables["objects"]["kind"], pa.array(["StorageClass", "IngressClass"]))
    in_it, named = (pc.is_in(tables["objects"][column], pa.array(own)) for column in ("namespace", "name"))
    told, start = tables["events"]["namespace"], tables["spans"]["start_ns"]
    inside = pc.and_(pc.greater_equal(start, window.start_ns), pc.less(start, window.end_ns))
    kept = {
        "spans": tables["spans"].filter(inside),
        "objects": tables["objects"].filter(pc.or_kleene(pc.or_kleene(in_it, named), shared)),
        "events": tables["events"].filter(pc.or_kleene(pc.is_null(told), pc.equal(told, namespace))),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for signal, table in kept.items():
        pq.write_table(table, folder / f"{signal}.parquet", compression="zstd", compression_level=19)


@contextmanager
def running_shops(plane: ControlPlane, folder: Path, faults: Sequence[Fault], token: str) -> Iterator[Shops]:
    """Run a healthy shop and one for each fault; yield when the faults were put in. ``token`` is the collector's."""
    names = [HEALTHY, *(fault.name for fault in faults)]
    kubeconfig = plane.write_kubeconfig(folder / "collector.kubeconfig", token)
    processes = Processes(folder)
    with (
        metrics_api(plane) as metrics,
        collector(folder / "store", "--kubeconfig", str(kubeconfig)) as collecting,
    ):
        _open(plane, names, [fault.name for fault in faults if fault.apart])
        otlp = f"http://127.0.0.1:{collecting.ports['otlp-http']}"
        cluster = {"url": plane.url, "ca": str(plane.ca), "token": plane.token, "namespaces": names}
        try:
            for app in (*SERVICES, "entry"):
                program = str(_HERE / "containers.py")
                processes.start(app, [sys.executable, program, app, json.dumps(cluster), otlp])
            found = Shops(plane, collecting, folder, time.time_ns())
            time.sleep(_QUIET_S)
            _inject(found, metrics, faults)
            yield found
        finally:
            ended = processes.exited()
            processes.stop_all()
            for name in names:
                plane.kubectl("delete", "--wait=false", f"namespace/{name}", f"node/{node_of(name)}", check=False)
        assert not ended, ended


def _open(plane: ControlPlane, names: list[str], apart: list[str]) -> None:
    """Make the shops and wait until they serve; the nodes of those ``apart`` have a kubelet of their own."""
    for number, name in enumerate(apart, 1):
        plane.start_kubelets(name, f"10.{number}.0.1/24")
    nodes = [node(node_of(name), labels={"shop": name}, played_by=name if name in apart else "fake") for name in names]
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]
    plane.kubectl("create", "-f", "-", stdin=[*nodes, *spaces])
    plane.apply(*shared(), *(found for name in names for found in shop(plane, name)))
    for name in names:
        plane.wait(lambda name=name: is_up(plane, name), lambda name=name: f"the shop {name}: {state(plane, name)}")


def _inject(shops: Shops, metrics: MetricsApi, faults: Sequence[Fault]) -> None:
    for fault in faults:
        before = time.time_ns()
        fault.inject(shops.plane, metrics, fault.name)
        shops.injected_ns[fault.name] = before, time.time_ns()


def state(plane: ControlPlane, namespace: str) -> dict[str, str]:
    """Return why each pod of a shop does not serve, ``ready`` for those that do."""
    return {pod["metadata"]["name"]: reason(pod) for pod in pods(plane, namespace)}


def is_up(plane: ControlPlane, namespace: str) -> bool:
    """Tell whether every app of a shop is ready and its autoscaler sees the load."""
    apps = {name.split("-")[0] for name, why in state(plane, namespace).items() if why == "ready"}
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/web"
    conditions: list[dict[str, Any]] = plane.read(path)["status"].get("conditions", [])
    sees = any(c["type"] == "ScalingActive" and c["status"] == "True" for c in conditions)
    return apps >= {"web", "api", "db", "queue", "agent"} and sees
