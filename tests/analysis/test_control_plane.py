"""The metrics of the control plane itself: what begins to do badly is named with its onset, what is usual is not."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from kubernetes_objects import at, condition, pod
from kubernetes_shop import history, shop

from hypocenter.analysis.evidence.kubernetes_measured import measured
from hypocenter.analysis.evidence.kubernetes_rules.control_plane import NAMES, troubled
from hypocenter.graph.kubernetes_services import ServiceJoin, Speakers
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.detect import decode
from hypocenter.tracer.pull.discovery import useful
from hypocenter.tracer.source import Source, decompressed

BAD_FROM, SCRAPES, STEP_S = 20, 40, 15
TYPES = "\n".join(f"# TYPE {name} histogram" for name in sorted(NAMES) if name.endswith("_seconds"))
Said = Callable[[int, int], str]


def scraped(said: Said, bad: bool = True) -> Batch:
    """Return ten minutes of scrapes; ``said`` gives the text of a scrape, from how many were quiet and bad so far."""
    lines = []
    for number in range(SCRAPES):
        worse = max(number - BAD_FROM, 0) if bad else 0
        stamp = at(STEP_S * number) // 10**6
        lines += [f"{line} {stamp}" for line in said(number - worse, worse).splitlines()]
    text = "\n".join([TYPES, *lines, ""]).encode()
    return concat(decode(Source("metrics", decompressed(io.BytesIO(text)), at(0))))


def durations(name: str, quiet_s: float, bad_s: float, labels: str = "") -> Said:
    def said(quiet: int, bad: int) -> str:
        count, total = 10 * (quiet + bad), 10 * (quiet * quiet_s + bad * bad_s)
        within = f'{{{labels},le="+Inf"}}' if labels else '{le="+Inf"}'
        own = f"{{{labels}}}" if labels else ""
        return f"{name}_bucket{within} {count}\n{name}_sum{own} {total}\n{name}_count{own} {count}"

    return said


def counter(name: str, each: float, labels: str) -> Said:
    return lambda quiet, bad: f"{name}{{{labels}}} {each * bad}"


def gauge(name: str, well: float, ill: float, labels: str) -> Said:
    return lambda quiet, bad: f"{name}{{{labels}}} {ill if bad else well}"


TROUBLES = [
    (durations("apiserver_request_duration_seconds", 0.02, 1.5, 'verb="GET"'), "kube-apiserver",
     "answers in 1.50 s, in 0.02 s before"),
    (counter("apiserver_request_total", 30, 'code="503"'), "kube-apiserver", "fails 2.0 requests a second, 0.0 before"),
    (durations("etcd_disk_wal_fsync_duration_seconds", 0.002, 0.3), "etcd", "waits 0.300 s for its disk"),
    (gauge("etcd_server_has_leader", 1, 0, 'pod="etcd-0"'), "etcd", "has no leader"),
    (gauge("scheduler_pending_pods", 0, 40, 'queue="active"'), "kube-scheduler", "has 40 pods waiting, 0 before"),
    (counter("scheduler_schedule_attempts_total", 15, 'result="error"'), "kube-scheduler", "fails 1.0 attempts"),
    (gauge("workqueue_depth", 2, 900, 'job="kube-controller-manager",name="deployment"'), "kube-controller-manager",
     "has 900 objects waiting, 2 before"),
    (durations("kubelet_pleg_relist_duration_seconds", 0.01, 9, 'node="node-2"'), "kubelet",
     "takes 9.0 s to see its containers"),
    (gauge("up", 1, 0, 'job="kube-scheduler",instance="10.0.0.1:10259"'), "kube-scheduler",
     "is not reached by what scrapes it"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "component", "text"), TROUBLES, ids=[f"{t[1]}: {t[2]}" for t in TROUBLES])
def test_component_that_begins_to_do_badly_is_named_with_its_onset(said: Said, component: str, text: str) -> None:
    batch = scraped(said)
    (told,) = troubled(batch.table("series"), batch.table("points"))
    assert (told.component, told.node) == (component, "node-2" if component == "kubelet" else None)
    assert told.text.startswith(text)
    # A bin of half a minute is how finely it is known.
    assert abs(told.onset_ns - at(STEP_S * (BAD_FROM + 1))) <= 30 * 10**9


@pytest.mark.parametrize("said", [t[0] for t in TROUBLES], ids=[t[1] for t in TROUBLES])
def test_healthy_component_is_not_named(said: Said) -> None:
    batch = scraped(said, bad=False)
    assert batch.table("points").num_rows > 0
    assert list(troubled(batch.table("series"), batch.table("points"))) == []


def test_watches_last_long_and_tell_nothing() -> None:
    batch = scraped(durations("apiserver_request_duration_seconds", 0.02, 300, 'verb="WATCH"'))
    assert list(troubled(batch.table("series"), batch.table("points"))) == []


def test_trouble_bears_on_what_starts_and_not_on_what_runs() -> None:
    waiting = pod(
        "web-new", app="web", node=None, phase="Pending", started=320, conditions=[condition("Ready", False, 320)]
    )
    seen = history([(0, shop()), (330, shop() | {"new": waiting})])
    batch = scraped(gauge("scheduler_pending_pods", 0, 40, 'queue="active"'))
    join = ServiceJoin(seen.whole, Speakers({}, {}, frozenset({"web", "cart"})))
    (told,) = measured(seen, join, batch.table("series"), batch.table("points"))
    assert (told.rule, told.entity, told.entity_kind) == ("control plane", "Component/kube-scheduler", "object")
    assert told.services == ("web",)
    assert told.command == "kubectl -n kube-system get pods -l component=kube-scheduler"


def test_metrics_that_are_looked_at_are_pulled() -> None:
    parts = {f"{name}_sum" if name.endswith("_seconds") else name for name in NAMES}
    assert set(useful(parts)) == parts
