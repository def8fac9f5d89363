"""Volumes: claims that stay unbound, volumes that are lost, cannot be attached or mounted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ....graph.kubernetes_objects import Object
from ....tracer.kubernetes.times import to_ns
from .rule import Rule, Sign, View, kubectl, lasted_s, over, runs, short

_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"
_LEAST_PENDING_S: Final = 20.0  # provisioning takes seconds


def _pending(view: View, versions: list[Object]) -> Iterator[Sign]:
    for run, _ in runs(versions, lambda claim: claim.status.get("phase") == "Pending"):
        claim = run[-1]
        failed = view.history.events_of(claim, "ProvisioningFailed", "FailedBinding")
        if not failed and lasted_s(view, run, run[0].valid_from_ns) < _LEAST_PENDING_S:
            continue
        why = _why(view, claim)
        if why is None and failed:
            why = short(failed[-1].message, 160)
        if why is not None:
            text = f"is not bound: {why}"
            yield Sign(run[0].valid_from_ns, text, kubectl("describe", claim), until_ns=over(view, run))
    for run, _ in runs(versions, lambda claim: claim.status.get("phase") == "Lost"):
        yield Sign(run[0].valid_from_ns, "lost its volume: the PersistentVolume is gone", kubectl("describe", run[0]))


def _why(view: View, claim: Object) -> str | None:
    """Return why a claim stays pending; None when it only waits for a pod, or nobody can tell."""
    name = claim.spec.get("storageClassName")
    classes = {found.name: found for found in view.whole.of("StorageClass")}
    knows = "StorageClass" in view.whole.known
    if name and name not in classes and knows:
        return f"StorageClass {name} does not exist"
    if name is None and knows and not any(c.annotations.get(_DEFAULT) == "true" for c in classes.values()):
        return "it names no StorageClass and the cluster has no default one"
    if name and name in classes:
        if classes[name].spec.get("provisioner") == "kubernetes.io/no-provisioner":
            return f"no PersistentVolume of StorageClass {name} fits, and it provisions none"
        if classes[name].spec.get("volumeBindingMode") == "WaitForFirstConsumer":
            return None
        wanted = ((claim.spec.get("resources") or {}).get("requests") or {}).get("storage")
        return f"StorageClass {name} has not provisioned its {wanted or 'volume'}"
    if name == "":
        return "it asks for a PersistentVolume without a StorageClass, and none fits"
    return None


def _volume(view: View, versions: list[Object]) -> Iterator[Sign]:
    for run, _ in runs(versions, lambda volume: volume.status.get("phase") == "Failed"):
        why = short(run[0].status.get("message") or run[0].status.get("reason"), 160)
        onset = to_ns(run[0].status.get("lastPhaseTransitionTime")) or run[0].valid_from_ns
        yield Sign(onset, f"failed: {why}", kubectl("describe", run[0]))


def _attachment(view: View, versions: list[Object]) -> Iterator[Sign]:
    for run, error in runs(versions, lambda found: found.status.get("attachError") or found.status.get("detachError")):
        node = run[0].spec.get("nodeName")
        onset = to_ns(error.get("time")) or run[0].valid_from_ns
        text = f"cannot be attached to {node}: {short(error.get('message'), 160)}"
        yield Sign(onset, text, kubectl("describe", run[0]))


def _mount(view: View, versions: list[Object]) -> Iterator[Sign]:
    pod = versions[-1]
    for reason, words in (("FailedAttachVolume", "its volume cannot be attached"), ("FailedMount", "a mount fails")):
        if told := view.history.events_of(pod, reason):
            yield Sign(
                told[0].first_ns, f"{words}: {short(told[-1].message, 180)}", kubectl("describe", pod), group=reason
            )


STORAGE: Final = (
    Rule("claim pending", ("PersistentVolumeClaim",), 6.5, "object", _pending),
    Rule("volume failed", ("PersistentVolume",), 6.0, "object", _volume),
    Rule("volume attachment", ("VolumeAttachment",), 6.0, "object", _attachment),
    Rule("volume mount", ("Pod",), 5.5, "pod", _mount),
)
