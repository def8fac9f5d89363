"""The way to a pod: selectors, ports, endpoints, Ingress, certificates, network policies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from ....graph.kubernetes import Cluster
from ....graph.kubernetes_layers import selects
from ....graph.kubernetes_objects import Object
from ....graph.kubernetes_services import ServiceJoin
from ....tracer.kubernetes.times import to_ns
from .rule import Rule, Sign, View, kubectl, lasted_s, over, runs

_SERVICE_LABEL: Final = "kubernetes.io/service-name"
_EXPIRY: Final = ("not-after", "notafter", "expiry", "expires", "expiration")
_LEAST_EMPTY_S: Final = 5.0  # a rollout of one replica may pass by


def _ready(found: Object) -> int:
    return sum((e.get("conditions") or {}).get("ready") is not False for e in found.spec.get("endpoints") or ())


def _no_endpoints(view: View, versions: list[Object]) -> Iterator[Sign]:
    last = versions[-1]
    name = last.labels.get(_SERVICE_LABEL)
    service = view.whole.named("Service", last.namespace, name) if name else None
    # Without a selector somebody else fills it in, or only metrics tell of it: then it must have had an endpoint.
    if service is None or not (service.spec.get("selector") or any(map(_ready, versions))):
        return
    for run, _ in runs(versions, lambda found: not _ready(found)):
        onset = run[0].valid_from_ns
        if lasted_s(view, run, onset) < _LEAST_EMPTY_S or _others_ready(view, last, onset):
            continue
        yield replace(_empty(view, service, onset), until_ns=over(view, run))


def _others_ready(view: View, own: Object, at_ns: int) -> bool:
    """Tell whether another slice of the same Service has a ready endpoint."""
    name, space = own.labels.get(_SERVICE_LABEL), own.namespace
    return any(
        _ready(found)
        for found in view.history.at(at_ns).of("EndpointSlice")
        if found.uid != own.uid and found.namespace == space and found.labels.get(_SERVICE_LABEL) == name
    )


def _empty(view: View, service: Object, onset: int) -> Sign:
    """Tell why a Service has no endpoint: nobody has its labels, or nobody with them is ready."""
    cluster = view.history.at(min(onset + 10**9, view.end_ns))
    service = cluster.objects.get(service.uid, service)
    wanted, command = service.spec.get("selector") or {}, kubectl("describe", service)
    if not wanted:
        return Sign(onset, "has no ready endpoint any more", command, about=service, nats=2.0, group="endpoints")
    shown = ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))
    pods = [p for p in cluster.of("Pod") if p.namespace == service.namespace]
    chosen = [p for p in pods if selects({"matchLabels": wanted}, p.labels)]
    if chosen:
        text = f"has no ready endpoint: none of the {len(chosen)} pods with {shown} is ready"
        return Sign(onset, text, command, about=service, nats=2.0, group="endpoints")
    text = f"has no endpoint: no pod has the labels of its selector {shown}"
    return Sign(onset, text, command, about=service, nats=5.5, group="endpoints")


def _selector(view: View, versions: list[Object]) -> Iterator[Sign]:
    """A Service that selects nothing, where no EndpointSlice tells since when."""
    service = versions[-1]
    wanted = service.spec.get("selector")
    knows = {"Pod"} <= view.whole.known and "EndpointSlice" not in view.whole.known
    if not wanted or not knows or service.valid_to_ns <= view.end_ns:
        return
    chosen = [e for e in view.whole.out.get(service.key, ()) if e.layer == "selection"]
    living = [e for e in chosen if e.target in view.end.by_key]
    if living:
        return
    ends = [view.whole.by_key[e.target].valid_to_ns for e in chosen]
    onset = max([service.valid_from_ns, *ends])
    yield _empty(view, service, onset)


def _ports(view: View, versions: list[Object]) -> Iterator[Sign]:
    def wrong(service: Object) -> str | None:
        chosen = [
            pod
            for e in view.whole.out.get(versions[-1].key, ())
            if e.layer == "selection" and (pod := view.whole.by_key.get(e.target)) is not None
        ]
        if not chosen:
            return None
        declared = [p for pod in chosen for c in pod.spec.get("containers") or () for p in c.get("ports") or ()]
        for port in service.spec.get("ports") or ():
            target = port.get("targetPort", port.get("port"))
            if isinstance(target, str) and not any(p.get("name") == target for p in declared):
                return f"targets port {target}, which no container of its pods names"
            numbers = {p.get("containerPort") for p in declared}
            if isinstance(target, int) and numbers and target not in numbers:
                known = ", ".join(str(n) for n in sorted(n for n in numbers if isinstance(n, int)))
                return f"targets port {target}, but its pods declare {known}"
        return None

    for run, text in runs(versions, wrong):
        yield Sign(run[0].valid_from_ns, text, kubectl("describe", run[-1]), group="port")


def _broken_reference(view: View, versions: list[Object]) -> Iterator[Sign]:
    """An Ingress or route to a Service, port, class or certificate that is not there."""
    found = view.end.objects.get(versions[-1].uid)
    if found is None:
        return
    for edge in view.end.out.get(found.key, ()):
        kind = edge.target.split("/", 1)[0]
        if kind not in view.whole.known or edge.layer not in ("routing", "references"):
            continue
        target = view.end.by_key.get(edge.target)
        onset = _began(versions, edge.target)
        if target is None:
            gone = view.whole.by_key.get(edge.target)
            where = f"sends {edge.detail.rpartition(' :')[0]} to" if edge.layer == "routing" else "refers to"
            command = kubectl("describe", found)
            if gone is not None and gone.valid_to_ns >= onset:
                # What was deleted is to blame, and whoever called through it feels it.
                text = f"was deleted, and {found.kind} {found.name} {where} it"
                services = view.with_callers(view.join.services(gone))
                yield Sign(gone.valid_to_ns, text, command, about=gone, services=services, group=found.key)
            else:
                text = f"{where} {kind} {edge.target.rpartition('/')[2]}, which does not exist"
                yield Sign(onset, text, command, group=edge.target, services=_cut_off(view, found, onset))
        elif kind == "Service" and (port := edge.detail.rpartition(" :")[2]) not in {"", *_offered(target)}:
            yield _wrong_port(view, versions, target, port, onset)


def _wrong_port(view: View, versions: list[Object], service: Object, port: str, onset: int) -> Sign:
    """Tell since when a route asks for a port and its Service does not offer it."""
    named = re.compile(rf'[":]{re.escape(port)}["}},]')
    asked = _since(versions, lambda one: named.search(one.text))
    lacking = _since(view.history.versions[service.uid], lambda one: port not in _offered(one))
    text = f"sends to port {port} of Service {service.name}, which offers {', '.join(sorted(_offered(service)))}"
    return Sign(max(onset, asked, lacking), text, kubectl("describe", versions[-1]), group=f"{service.key}:{port}")


def _cut_off(view: View, found: Object, onset: int) -> tuple[str, ...]:
    """Return the services that an object leads to, or led to before its reference broke, and their callers."""
    before = view.history.at(onset - 1)
    led = view.join.services(found) or ServiceJoin(before, view.join.speakers).services(found)
    return view.with_callers(led)


def _offered(service: Object) -> set[str]:
    """Return the names and numbers of a Service's ports."""
    return {str(p[part]) for p in service.spec.get("ports") or () for part in ("name", "port") if p.get(part)}


def _began(versions: list[Object], target: str) -> int:
    """Return since when an object names another without a break."""
    name = target.rpartition("/")[2]
    return _since(versions, lambda one: f'"{name}"' in one.text)


def _since(versions: list[Object], holds: Callable[[Object], Any]) -> int:
    """Return since when something holds that holds of the last version."""
    *_, (run, _) = [([versions[-1]], True), *runs(versions, holds)]
    return run[0].valid_from_ns


def _expired(view: View, versions: list[Object]) -> Iterator[Sign]:
    """A certificate past its public notAfter; the certificate itself is never read."""
    found = versions[-1]
    ends = [to_ns(v) for k, v in found.annotations.items() if k.lower().rpartition("/")[2].endswith(_EXPIRY)]
    ends.append(to_ns(found.status.get("notAfter")))
    known = [end for end in ends if end is not None]
    if known and max(known) <= view.end_ns < found.valid_to_ns:
        yield Sign(max(known), "its certificate has expired", kubectl("describe", found))


def _policy(view: View, versions: list[Object]) -> Iterator[Sign]:
    """A policy that came or changed in the window and admits no traffic of an edge that the graph had."""
    policy = view.end.objects.get(versions[-1].uid)
    if policy is None or policy.valid_from_ns < view.history.window.start_ns:
        return
    by_service: dict[str, list[Object]] = {}
    for pod in view.end.of("Pod"):
        by_service.setdefault(view.join.of_pod.get(pod.uid, ""), []).append(pod)
    for caller, callee in view.calls:
        sources, targets = by_service.get(caller, []), by_service.get(callee, [])
        for direction, ruled, peers in (("Ingress", targets, sources), ("Egress", sources, targets)):
            chosen = [
                p
                for p in ruled
                if p.namespace == policy.namespace and selects(policy.spec.get("podSelector"), p.labels)
            ]
            if not chosen or not peers or direction not in _types(policy):
                continue
            rivals = [
                p
                for p in view.end.of("NetworkPolicy")
                if p.namespace == policy.namespace
                and direction in _types(p)
                and selects(p.spec.get("podSelector"), chosen[0].labels)
            ]
            if not any(_admits(view.end, one, direction, peers[0]) for one in rivals):
                text = f"lets no traffic of {caller} to {callee} pass, which the graph had"
                blamed = callee if direction == "Ingress" else caller
                yield Sign(
                    policy.valid_from_ns,
                    text,
                    kubectl("describe", policy),
                    group=f"{caller}>{callee}",
                    services=(blamed,),
                )


def _types(policy: Object) -> list[str]:
    given = policy.spec.get("policyTypes")
    return list(given) if given else ["Ingress", *(["Egress"] if policy.spec.get("egress") else [])]


def _admits(cluster: Cluster, policy: Object, direction: str, peer: Object) -> bool:
    rules = policy.spec.get(direction.lower()) or ()
    side = "from" if direction == "Ingress" else "to"
    return any(not rule.get(side) or any(_fits(cluster, policy, one, peer) for one in rule[side]) for rule in rules)


def _fits(cluster: Cluster, policy: Object, allowed: Mapping[str, Any], peer: Object) -> bool:
    if "ipBlock" in allowed:
        return True  # addresses are not compared: nobody is accused for them
    space = cluster.named("Namespace", None, peer.namespace or "")
    labels = {"kubernetes.io/metadata.name": peer.namespace or ""} | (space.labels if space else {})
    if "namespaceSelector" in allowed:
        if not selects(allowed["namespaceSelector"] or {}, labels):
            return False
    elif peer.namespace != policy.namespace:
        return False
    return "podSelector" not in allowed or selects(allowed["podSelector"] or {}, peer.labels)


NETWORK: Final = (
    Rule("no endpoints", ("EndpointSlice",), 4.0, "object", _no_endpoints),
    Rule("selector", ("Service",), 5.5, "object", _selector),
    Rule("wrong port", ("Service",), 5.0, "object", _ports),
    Rule("broken reference", ("Ingress", "HTTPRoute", "GRPCRoute", "Gateway"), 5.5, "object", _broken_reference),
    Rule("certificate expired", ("Secret", "Certificate"), 6.0, "object", _expired),
    Rule("network policy", ("NetworkPolicy",), 6.0, "object", _policy),
)
