"""Recorded shops of a real cluster, a fault in each: the object comes first, and a healthy shop has no origin.

`tests/real/kubernetes_cluster/test_faults.py` makes them: a real API server, and real processes that speak for their
pods. To record anew, run it with ``HYPOCENTER_RECORD_SHOPS=tests/analysis/kubernetes_recordings``.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import hypocenter as hc
from hypocenter.analysis.ranking import Ranking
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store

RECORDINGS = Path(__file__).parent / "kubernetes_recordings"
# What was done to each shop: the object, and the service that fails or slows with it.
FIRST = {
    "bad-image": ("Deployment/bad-image/api", "api"),
    "broken-version": ("Deployment/broken-version/api", "api"),
    "memory": ("Deployment/memory/api", "api"),
    "probe": ("Deployment/probe/api", "api"),
    "selector": ("Service/selector/api", "api"),
    "target-port": ("Service/target-port/api", "api"),
    "storage-class": ("PersistentVolumeClaim/storage-class/fast", "db"),
    "quota": ("ResourceQuota/quota/limits", "api"),
    "configuration": ("ConfigMap/configuration/settings", "api"),
    "secret": ("Secret/secret/password", "api"),
    "node-not-ready": ("node-node-not-ready", "web"),
    "node-lost": ("node-node-lost", "web"),
    "taint": ("node-taint", "web"),
    "unschedulable": ("Deployment/unschedulable/api", "api"),
    "scaled-to-zero": ("Deployment/scaled-to-zero/api", "api"),
    "policy": ("NetworkPolicy/policy/closed", "api"),
    "entry": ("Service/entry/web", "entry"),
}


def ranked(name: str, folder: Path) -> Ranking:
    store = Store(folder / "store", create=True)
    store.append(Batch({path.stem: pq.read_table(path) for path in (RECORDINGS / name).glob("*.parquet")}))
    return hc.open(store.path).rank().ranking


@pytest.mark.parametrize("name", FIRST)
def test_object_of_a_recorded_fault_comes_first(name: str, tmp_path: Path) -> None:
    ranking = ranked(name, tmp_path)
    first = ranking.candidates[0]
    assert (ranking.outcome, first.entity, first.service) == ("ranked", *FIRST[name])


def test_recorded_healthy_shop_has_no_origin(tmp_path: Path) -> None:
    assert ranked("healthy", tmp_path).outcome == "no-origin"


def test_every_recording_is_tested() -> None:
    assert {path.name for path in RECORDINGS.iterdir()} == {"healthy", *FIRST}
