"""What is kept of an object: its specification and status without noise, without the data of Secrets, and bounded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from .times import to_ns

# Of longer texts (a ConfigMap's file, an argument) the beginning is kept, and the digest of the whole.
TEXT_LIMIT: Final = 8 * 1024
_ENVELOPE: Final = frozenset({"apiVersion", "kind", "metadata", "status"})
_SECRET_PARTS: Final = frozenset({"data", "stringData", "binaryData"})
# Content of its own kind, or defaults and heartbeats that say nothing and change often.
_NOISE: Final = frozenset(
    {
        *("managedFields", "lastHeartbeatTime", "lastProbeTime", "terminationMessagePath", "terminationMessagePolicy"),
        *("images", "nodeInfo", "volumesInUse", "daemonEndpoints", "imageID", "containerID"),
    }
)
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
# Of a Secret's annotations only those that a certificate's issuer writes: anything else might quote the data.
_SECRET_ANNOTATIONS: Final = ("cert-manager.io/", "networking.gke.io/managed-certificates")
_EXPIRY: Final = ("not-after", "notafter", "expiry", "expires", "expiration")
_TOKEN_VOLUME: Final = "kube-api-access-"


def digest(value: object) -> str:
    """Return a digest of JSON content, independent of the order of keys."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def spec_of(kind: str, obj: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what an object asks for or holds, and its digest.

    The parts of ``spec`` stand beside those that a kind keeps at its top (``data``, ``endpoints``, ``provisioner``). Of
    a Secret the type alone is returned, and the digest is that of its type and of the names of its keys.
    """
    if kind == "Secret":
        names = sorted({str(k) for part in _SECRET_PARTS for k in obj.get(part) or {}})
        return {"type": obj.get("type")}, digest([obj.get("type"), names])
    content = {key: value for key, value in obj.items() if key not in _ENVELOPE}
    content |= content.pop("spec", None) or {}
    return _tidy(content), digest(content)


def status_of(kind: str, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status, and under ``metadata`` what the server keeps beside it: owners, finalisers, who changed it.

    ``changedAt`` is when the specification was last written, as ``managedFields`` tell it, and ``changedBy`` by whom.
    """
    metadata = obj.get("metadata") or {}
    beside: dict[str, Any] = {
        "generation": metadata.get("generation"),
        "deletionTimestamp": metadata.get("deletionTimestamp"),
        "finalizers": metadata.get("finalizers"),
        "owners": [
            {key: owner.get(key) for key in ("kind", "name", "uid")} for owner in metadata.get("ownerReferences") or ()
        ],
        "annotations": _annotations(kind, metadata.get("annotations") or {}),
        **_last_write(metadata.get("managedFields") or ()),
    }
    status = {} if kind == "Secret" else _tidy(dict(obj.get("status") or {}))
    return status | {"metadata": {key: value for key, value in beside.items() if value}}


def _last_write(managed: Any) -> dict[str, str]:
    """Return when and by whom the object itself was written, its status and scale left out."""
    writes = [entry for entry in managed if not entry.get("subresource") and to_ns(entry.get("time")) is not None]
    if not writes:
        return {}
    last = max(writes, key=lambda entry: to_ns(entry["time"]) or 0)
    return {"changedAt": str(last["time"]), "changedBy": str(last.get("manager") or "")}


def _annotations(kind: str, annotations: Mapping[str, Any]) -> dict[str, str]:
    if kind == "Secret":
        kept = {k: v for k, v in annotations.items() if k.startswith(_SECRET_ANNOTATIONS) or _is_expiry(k)}
    else:
        kept = {k: v for k, v in annotations.items() if k != _LAST_APPLIED}
    return {str(key): str(_bounded(str(value))) for key, value in kept.items()}


def _is_expiry(name: str) -> bool:
    return name.lower().rpartition("/")[2].endswith(_EXPIRY)


def _tidy(value: Any) -> Any:
    if isinstance(value, dict):
        tidied = {}
        for key, inner in value.items():
            if key in _NOISE:
                continue
            if key == "env" and isinstance(inner, list):
                inner = _environment(inner)
            elif key == "binaryData" and isinstance(inner, dict):
                inner = {name: {"digest": digest(data), "bytes": len(str(data))} for name, data in inner.items()}
            elif key in ("volumes", "volumeMounts") and isinstance(inner, list):
                inner = [v for v in inner if not str((v or {}).get("name") or "").startswith(_TOKEN_VOLUME)]
            tidied[str(key)] = _tidy(inner)
        return tidied
    if isinstance(value, list):
        return [_tidy(inner) for inner in value]
    return _bounded(value) if isinstance(value, str) else value


def _environment(entries: list[Any]) -> dict[str, Any]:
    """Return variables by name, so that what hides a value by its name can see it, and a change names the variable."""
    return {str(entry.get("name")): entry.get("valueFrom", entry.get("value", "")) for entry in entries}


def _bounded(text: str) -> str:
    if len(text) <= TEXT_LIMIT:
        return text
    return f"{text[:TEXT_LIMIT]}... ({len(text)} characters, digest {digest(text)})"
