"""Recorded shops of a real cluster, a fault in each: the object comes first, and a healthy shop has no origin.

`tests/real/kubernetes_cluster/test_faults.py` makes them: a real API server, and real processes that speak for their
pods. To record anew, run it with ``HYPOCENTER_RECORD_SHOPS=tests/analysis/kubernetes_recordings``.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import hypocenter as hc
from hypocenter.analysis.ranking import Ranking
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.kubernetes.versions import LISTED, rows_around
from hypocenter.tracer.schema import EVENTS
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window

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


def recorded(name: str) -> dict[str, pa.Table]:
    return {path.stem: pq.read_table(path) for path in (RECORDINGS / name).glob("*.parquet")}


def ranked(tables: dict[str, pa.Table], folder: Path) -> Ranking:
    store = Store(folder / "store", create=True)
    store.append(Batch(tables))
    return hc.open(store.path).rank().ranking


def watched_late(tables: dict[str, pa.Table], folder: Path) -> dict[str, pa.Table]:
    """Return a recording as of a collector that came when the shop was there: it listed all, and told so."""
    listed_ns = pc.min(tables["spans"]["start_ns"]).as_py()
    store = Store(folder / "objects", create=True)
    store.append(Batch({"objects": tables["objects"]}))
    objects = rows_around(store, Window(listed_ns, 2**62))
    objects = objects.filter(pc.greater(pc.fill_null(objects["valid_to_ns"], 2**62), listed_ns))
    place = objects.schema.get_field_index("valid_from_ns")
    seen_ns = pc.max_element_wise(objects["valid_from_ns"], listed_ns)
    mark = {"time_ns": listed_ns, "kind": "kubernetes", "reason": LISTED, "source": "test"}
    marks = [mark | {"object_kind": kind} for kind in objects["kind"].unique().to_pylist()]
    told = pa.Table.from_pylist([dict.fromkeys(EVENTS.names) | mark for mark in marks], EVENTS)
    seen = objects.set_column(place, objects.schema.field(place), seen_ns)
    return tables | {"objects": seen, "events": pa.concat_tables([tables["events"], told])}


@pytest.mark.parametrize("name", FIRST)
def test_object_of_a_recorded_fault_comes_first(name: str, tmp_path: Path) -> None:
    ranking = ranked(recorded(name), tmp_path)
    first = ranking.candidates[0]
    assert (ranking.outcome, first.entity, first.service) == ("ranked", *FIRST[name])


@pytest.mark.parametrize("name", ["healthy", "node-lost", "secret"])
def test_a_shop_that_was_there_before_its_collector_is_ranked_the_same(name: str, tmp_path: Path) -> None:
    """What a first list holds is still there after it: no class or Secret is taken for deleted."""
    both = (recorded(name), watched_late(recorded(name), tmp_path))
    rankings = [ranked(tables, tmp_path / str(i)) for i, tables in enumerate(both)]
    told = [
        (r.outcome, [(c.entity, c.service, round(c.probability or 0.0, 3)) for c in r.candidates[:1]]) for r in rankings
    ]
    assert told[0] == told[1]


def test_recorded_healthy_shop_has_no_origin(tmp_path: Path) -> None:
    assert ranked(recorded("healthy"), tmp_path).outcome == "no-origin"


def test_every_recording_is_tested() -> None:
    assert {path.name for path in RECORDINGS.iterdir()} == {"healthy", *FIRST}
