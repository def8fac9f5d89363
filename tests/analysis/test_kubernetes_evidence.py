"""Objects of a cluster put the cause first where a service degrades with them; healthy ones change nothing."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow.compute as pc
import pytest
from kubernetes_objects import NOW_NS, Manifest, condition, deployment, manifest, node, pod, replica_set, stamp
from kubernetes_shop import Snapshot, changed, rows
from small_incident import ALERT_NS, ONSET_NS, case, telemetry

from hypocenter.analysis.case import Case, Symptom
from hypocenter.analysis.evidence.kubernetes import findings
from hypocenter.analysis.hypocenter import Hypocenter
from hypocenter.analysis.ranking import Candidate, Ranking
from hypocenter.graph.kubernetes_objects import Object
from hypocenter.tracer.batch import Batch

ONSET_S = (ONSET_NS - NOW_NS) / 1e9
HOUR = 3600.0


def cluster() -> Snapshot:
    """Return payment and catalog on a node each; the pods are those of the telemetry."""
    found: list[Manifest] = [node("node-1"), node("node-2"), manifest("ConfigMap", "pay", data={"retries": "3"})]
    for app, place in (("payment", "node-1"), ("catalog", "node-2")):
        made = deployment(app)
        template = made["spec"]["template"]["spec"]
        if app == "payment":
            template["volumes"] = [{"name": "c", "configMap": {"name": "pay"}}]
        replicas = replica_set(made, "7d4b9c", created=ONSET_S - HOUR)
        name = f"{app}-7d4b9c-x2x9z"
        one = pod(name, app=app, node=place, owner=replicas, started=ONSET_S - HOUR, spec=template)
        found += [made, replicas, one]
    for one in found:
        one["metadata"]["creationTimestamp"] = stamp(ONSET_S - HOUR)
        for each in one.get("status", {}).get("conditions", ()):
            each["lastTransitionTime"] = stamp(ONSET_S - HOUR)
    return {f"{o['kind']}/{o['metadata']['name']}": o for o in found}


def with_objects(edit: Callable[[Snapshot], object], before_s: float = 40, batch: Batch | None = None) -> Case:
    spoken = telemetry() if batch is None else batch
    tables = rows([(ONSET_S - HOUR, cluster()), (ONSET_S - before_s, changed(cluster(), edit))]).tables
    return case(Batch(spoken.tables | {"objects": tables["objects"]}))


def first(ranking: Ranking) -> Candidate:
    return ranking.candidates[0]


def edit_config(objects: Snapshot) -> None:
    objects["ConfigMap/pay"]["data"]["retries"] = "99"


def lose_node(objects: Snapshot) -> None:
    objects["Node/node-1"]["status"]["conditions"][0] = condition("Ready", False, ONSET_S - 40)


def kill(objects: Snapshot) -> None:
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": stamp(ONSET_S - 40)}}
    objects["Pod/payment-7d4b9c-x2x9z"]["status"]["containerStatuses"][0] |= {"lastState": last, "restartCount": 1}


@pytest.mark.parametrize(
    ("edit", "entity", "kind", "command"),
    [
        (
            edit_config,
            "ConfigMap/shop/pay",
            "change",
            "kubectl -n shop get configmap pay -o yaml --show-managed-fields",
        ),
        (lose_node, "node-1", "node", "kubectl describe node node-1"),
        (kill, "payment-7d4b9c-x2x9z", "pod", "kubectl -n shop describe pod payment-7d4b9c-x2x9z"),
    ],
)
def test_object_that_fails_with_its_service_comes_first(
    edit: Callable[[Snapshot], object], entity: str, kind: str, command: str
) -> None:
    found = first(Hypocenter().rank(with_objects(edit)))
    assert (found.entity, found.kind, found.service) == (entity, kind, "payment")
    assert found.onset_ns == ONSET_NS - 40 * 10**9
    (told,) = [e for e in found.evidence_for if e.kind == "kubernetes"]
    assert told.command == command


def test_node_whose_loss_is_noticed_late_is_as_much_the_cause() -> None:
    """A cluster waits some 50 s for a silent kubelet: the calls fail long before the node is told lost."""

    def after(seconds: float, status: str) -> float:
        state = condition("Ready", False, ONSET_S + seconds) | {"status": status}
        lost = with_objects(lambda o: o["Node/node-1"]["status"]["conditions"].__setitem__(0, state), -seconds)
        found = first(Hypocenter().rank(lost))
        assert found.service == "payment"
        return sum(e.score for e in found.evidence_for if e.kind == "kubernetes" and found.entity == "node-1")

    at_once, late, told_late = after(0, "Unknown"), after(50, "Unknown"), after(50, "False")
    assert at_once == pytest.approx(late, rel=0.1)
    assert told_late < late / 1.5


def test_healthy_cluster_leaves_the_ranking_as_it_was() -> None:
    plain, healthy = Hypocenter().rank(case()), Hypocenter().rank(with_objects(lambda objects: None))
    told = [[(c.entity, c.kind, c.score, c.probability, c.onset_ns) for c in r.candidates] for r in (plain, healthy)]
    assert told[0] == told[1]
    assert ("kubernetes" in healthy.checked, "kubernetes" in plain.checked) == (True, False)
    assert "kubernetes: no objects or events of a cluster" in plain.not_checked


def test_change_of_another_service_is_no_cause() -> None:
    def edit(objects: Snapshot) -> None:
        objects["Deployment/catalog"]["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test/app:2"

    found = first(Hypocenter().rank(with_objects(edit)))
    assert (found.entity, found.kind) == ("payment", "service")


def test_change_long_before_counts_little() -> None:
    found = first(Hypocenter().rank(with_objects(edit_config, before_s=1800)))
    assert found.entity == "payment"


@pytest.mark.parametrize(("over_s", "entity"), [(-100.0, "payment"), (60.0, "node-1")])
def test_state_that_was_over_before_it_hurt_is_no_cause(over_s: float, entity: str) -> None:
    def ready(is_ready: bool, since_s: float) -> Snapshot:
        objects = changed(cluster())
        objects["Node/node-1"]["status"]["conditions"][0] = condition("Ready", is_ready, since_s)
        return objects

    ill, well = ready(False, ONSET_S - 140), ready(True, ONSET_S + over_s)
    seen = rows([(ONSET_S - HOUR, cluster()), (ONSET_S - 140, ill), (ONSET_S + over_s, well)])
    found = first(Hypocenter().rank(case(Batch(telemetry().tables | {"objects": seen.table("objects")}))))
    assert found.entity == entity


def test_change_where_nothing_hurts_is_no_origin() -> None:
    quiet = with_objects(edit_config)
    spans = quiet.telemetry.table("spans")
    calm = spans.filter(pc.less(spans["start_ns"], ONSET_NS))
    tables = {"spans": calm, "objects": quiet.telemetry.table("objects")}
    ranking = Hypocenter().rank(Case(Batch(tables), ONSET_NS - 20 * 10**9, symptom=Symptom()))
    assert ranking.outcome == "no-origin"


def test_findings_carry_the_services_of_the_telemetry() -> None:
    told = findings(with_objects(edit_config))
    assert [(f.entity, f.services, f.onset_ns) for f in told] == [
        ("ConfigMap/shop/pay", ("payment",), ONSET_NS - 40 * 10**9)
    ]
    assert isinstance(told[0].found, Object)
    assert told[0].onset_ns < ALERT_NS
