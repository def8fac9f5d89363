"""Workloads that do not do what they are asked: stuck rollouts, failed jobs, missed schedules, spent autoscalers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from ....graph.kubernetes_objects import Object
from ....tracer.kubernetes.times import to_ns
from .rule import SECOND_NS, Rule, Sign, View, kubectl, lasted_s, over, runs, short

_DNS_APPS: Final = ("kube-dns", "coredns")
_PROXY_APPS: Final = ("kube-proxy",)
_SCHEDULE_SLACK_S: Final = 60


def _condition(kind: str, status: str, *reasons: str) -> Any:
    def holds(found: Object) -> dict[str, Any] | None:
        condition = found.condition(kind)
        fits = condition.get("status") == status and (not reasons or condition.get("reason") in reasons)
        return condition if fits else None

    return holds


def _since(run: list[Object], condition: dict[str, Any]) -> int:
    return to_ns(condition.get("lastTransitionTime")) or run[0].valid_from_ns


def _stuck_rollout(view: View, versions: list[Object]) -> Iterator[Sign]:
    for run, condition in runs(versions, _condition("Progressing", "False", "ProgressDeadlineExceeded")):
        text = f"its rollout does not end: {short(condition.get('message'), 160)}"
        yield Sign(_since(run, condition), text, kubectl("rollout status", run[0]), until_ns=over(view, run))


def _unavailable(view: View, versions: list[Object]) -> Iterator[Sign]:
    """Too few replicas: mostly an effect, but of DNS and the proxy every service feels it."""

    def lacks(found: Object) -> bool:
        if found.kind == "Deployment":
            return found.condition("Available").get("status") == "False"
        status = found.status
        wanted = status.get("desiredNumberScheduled") if found.kind == "DaemonSet" else found.spec.get("replicas")
        ready = status.get("numberReady") if found.kind == "DaemonSet" else status.get("readyReplicas")
        return int(wanted or 0) > 0 and int(ready or 0) == 0

    for run, _ in runs(versions, lacks):
        found = run[0]
        onset = to_ns(found.condition("Available").get("lastTransitionTime")) or found.valid_from_ns
        if lasted_s(view, run, onset) < 10:
            continue
        app = found.labels.get("k8s-app") or found.labels.get("app") or found.name
        if found.namespace == "kube-system" and app in (*_DNS_APPS, *_PROXY_APPS):
            what = "names are not resolved" if app in _DNS_APPS else "Services are not routed"
            everyone = tuple(sorted(view.join.speakers.services))
            text = f"has no ready pod: {what} in the whole cluster"
            until, command = over(view, run), kubectl("describe", found)
            yield Sign(onset, text, command, nats=5.0, services=everyone, until_ns=until)
        else:
            yield Sign(onset, "has too few ready pods", kubectl("describe", found), until_ns=over(view, run))


def _failed_job(view: View, versions: list[Object]) -> Iterator[Sign]:
    for run, condition in runs(versions, _condition("Failed", "True")):
        job = run[0]
        root = view.whole.root(job)
        reason = short(condition.get("message") or condition.get("reason"), 160)
        yield Sign(
            _since(run, condition),
            f"failed: {reason}",
            kubectl("logs", job),
            about=job,
            services=tuple(view.join.services(root)),
        )
    for run, failed in runs(versions, lambda job: int(job.status.get("failed") or 0)):
        if not any(_condition("Failed", "True")(job) for job in run) and not _condition("Complete", "True")(run[-1]):
            yield Sign(
                run[0].valid_from_ns,
                f"has failed pods: {failed} so far",
                kubectl("logs", run[0]),
                nats=2.5,
                group="failing",
            )


def _schedule(view: View, versions: list[Object]) -> Iterator[Sign]:
    last = versions[-1]
    for before, after in pairwise(versions):
        if after.spec.get("suspend") and not before.spec.get("suspend"):
            yield Sign(after.valid_from_ns, "was suspended: no job is started", kubectl("describe", after), nats=4.5)
    for run, _ in runs(versions, lambda cron: len(cron.status.get("active") or ()) >= 2):
        count = max(len(cron.status.get("active") or ()) for cron in run)
        text = f"its jobs pile up: {count} run at once"
        yield Sign(run[0].valid_from_ns, text, kubectl("describe", run[-1]), group="active")
    for reason in ("MissSchedule", "TooManyMissedTimes", "JobAlreadyActive"):
        if told := view.history.events_of(last, reason):
            yield Sign(told[0].first_ns, f"missed its time: {short(told[-1].message, 160)}", kubectl("describe", last))
    period_s = _period_s(str(last.spec.get("schedule") or ""))
    ran = to_ns(last.status.get("lastScheduleTime"))
    due = to_ns(last.status.get("nextScheduleTime"))  # kube-state-metrics reckons it
    if due is None and period_s and ran is not None:
        due = ran + period_s * SECOND_NS
    if due is not None and not last.spec.get("suspend") and last.valid_to_ns > view.end_ns:
        # What was collected last tells how far the objects are known; silence after it is no missed schedule.
        known_ns = min(view.history.collected_ns, view.end_ns)
        if known_ns - due > ((period_s or 0) + _SCHEDULE_SLACK_S) * SECOND_NS:
            yield Sign(due, "was due and did not start", kubectl("describe", last), group="due")


def _period_s(schedule: str) -> int | None:
    """Return the seconds between runs of the plainest schedules, None for any other.

    >>> _period_s("*/5 * * * *"), _period_s("* * * * *"), _period_s("30 * * * *"), _period_s("0 3 * * 1")
    (300, 60, 3600, None)
    """
    minute, _, rest = schedule.strip().partition(" ")
    if rest.split() != ["*"] * 4:
        return {"@hourly": 3600}.get(schedule.strip())
    if minute == "*":
        return 60
    if minute.startswith("*/") and minute[2:].isdigit() and int(minute[2:]) > 0 and 60 % int(minute[2:]) == 0:
        return 60 * int(minute[2:])
    return 3600 if minute.isdigit() else None


def _autoscaler(view: View, versions: list[Object]) -> Iterator[Sign]:
    def at_most(found: Object) -> dict[str, Any] | None:
        limited = _condition("ScalingLimited", "True")(found)
        if limited and limited.get("reason", "TooManyReplicas") != "TooManyReplicas":  # metrics tell no reason
            return None
        most = int(found.spec.get("maxReplicas") or 0)
        return limited if limited and int(found.status.get("currentReplicas") or 0) >= most else None

    for run, condition in runs(versions, at_most):
        most = run[0].spec.get("maxReplicas")
        text = f"is at its maximum of {most} and wants more"
        yield Sign(_since(run, condition), text, kubectl("describe", run[0]), until_ns=over(view, run))
    for run, condition in runs(versions, _condition("ScalingActive", "False")):
        if condition.get("reason") != "ScalingDisabled":
            text = f"cannot scale: {short(condition.get('message') or condition.get('reason'), 160)}"
            until, command = over(view, run), kubectl("describe", run[0])
            yield Sign(_since(run, condition), text, command, nats=1.5, group="blind", until_ns=until)


def _budget(view: View, versions: list[Object]) -> Iterator[Sign]:
    """A budget that is not kept, mostly an effect, and one that holds up the draining of a node."""
    for run, _ in runs(versions, lambda budget: _count(budget, "currentHealthy") < _count(budget, "desiredHealthy")):
        healthy, wanted = _count(run[0], "currentHealthy"), _count(run[0], "desiredHealthy")
        text = f"is not kept: {healthy} of the {wanted} pods that it asks for are healthy"
        until, command = over(view, run), kubectl("describe", run[-1])
        yield Sign(run[0].valid_from_ns, text, command, group="broken", until_ns=until)
    for run, _ in runs(versions, lambda budget: not _count(budget, "disruptionsAllowed")):
        if run[-1].valid_to_ns > view.end_ns:
            for node, since_ns in _cordoned_under(view, run[-1]):
                text = f"lets none of its pods go, so Node {node.name} cannot be drained"
                onset = max(run[0].valid_from_ns, since_ns)
                yield Sign(onset, text, kubectl("describe", run[-1]), group=node.name)


def _count(budget: Object, field: str) -> int:
    return int(budget.status.get(field) or 0)


def _cordoned_under(view: View, budget: Object) -> Iterator[tuple[Object, int]]:
    """Yield the cordoned nodes on which pods of a budget still run, and since when they are cordoned."""
    pods = [pod for edge in view.end.out.get(budget.key, ()) if (pod := view.end.by_key.get(edge.target)) is not None]
    for name in sorted({str(pod.spec.get("nodeName")) for pod in pods}):
        if (node := view.end.named("Node", None, name)) is not None and node.spec.get("unschedulable"):
            *_, (run, _) = runs(view.history.versions[node.uid], lambda one: one.spec.get("unschedulable"))
            yield node, run[0].valid_from_ns


WORKLOAD: Final = (
    Rule("rollout stuck", ("Deployment",), 4.0, "object", _stuck_rollout),
    Rule("unavailable", ("Deployment", "StatefulSet", "DaemonSet"), 1.5, "object", _unavailable),
    Rule("job failed", ("Job",), 5.0, "object", _failed_job),
    Rule("schedule", ("CronJob",), 4.0, "object", _schedule),
    Rule("autoscaler", ("HorizontalPodAutoscaler",), 4.0, "object", _autoscaler),
    Rule("disruption budget", ("PodDisruptionBudget",), 2.0, "object", _budget),
)
