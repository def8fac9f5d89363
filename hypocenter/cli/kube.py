"""``hypocenter cluster`` and ``hypocenter changes``: the objects of a cluster at a time, and what was changed in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..legible import visible
from .answers import Output
from .places import StorePlace
from .text import aligned

if TYPE_CHECKING:
    from ..graph.kubernetes import Cluster, History
    from ..graph.kubernetes_start import PodStart
    from ..tracer.store import Store


def cluster(
    store: StorePlace,
    at: Annotated[str | None, typer.Option(help="RFC 3339, epoch, or -1h. By default the last known.")] = None,
    layer: Annotated[
        str | None, typer.Option(help="Print one layer: ownership, selection, routing, mounts, references, placement.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--path", help="Print the ways from a host (or Kind/namespace/name) to the nodes.")
    ] = None,
    pod: Annotated[str | None, typer.Option(help="Print the start of a pod as a timeline.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only this namespace.")] = None,
    output: Output = "text",
) -> None:
    """Print the Kubernetes objects at a time: how many, what is wrong, their layers, paths, and pod starts."""
    from ..graph.kubernetes_layers import LAYERS
    from ..questions import cluster_history, pod_start
    from ..tracer.store.remote import store_at

    if layer is not None and layer not in LAYERS:
        raise typer.BadParameter(f"expected {', '.join(LAYERS)}, not {layer!r}", param_hint="--layer")
    opened = store_at(store)
    time_ns = None if at is None else _time(at, "--at")
    history, at_ns = cluster_history(opened, time_ns)
    found = history.at(at_ns)
    if pod is not None:
        shown = _start(pod_start(opened, pod, namespace, time_ns))
    elif host is not None:
        shown = _paths(found, host)
    elif layer is not None:
        shown = _layer(found, layer, namespace)
    else:
        shown = _overview(opened, history, found, namespace)
    _say(shown, output)


def changes(
    store: StorePlace,
    since: Annotated[str, typer.Option(help="Start: RFC 3339, epoch, or relative to --at, else to now (-1h).")] = "-1h",
    at: Annotated[
        str | None, typer.Option(help="The onset: what changed close to it comes first. By default in order of time.")
    ] = None,
    symptom: Annotated[
        str | None, typer.Option(help="The service where it hurts: what bears on it comes first.")
    ] = None,
    output: Output = "text",
) -> None:
    """Print what was changed in the cluster, when, by whom and how; never the data of a Secret."""
    from ..analysis.changes import changes as read
    from ..tracer.store.remote import store_at
    from ..tracer.window import Window, parse_time, to_rfc3339

    opened = store_at(store)
    onset_ns = None if at is None else _time(at, "--at")
    held = opened.bounds()
    end_ns = max(held.end_ns if held else 1, (onset_ns or 0) + 1)
    try:
        start_ns = parse_time(since, now_ns=onset_ns if onset_ns is not None else end_ns)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error
    if start_ns >= end_ns:
        raise typer.BadParameter(f"{since} lies after the end of the data", param_hint="--since")
    found = read(opened, Window(start_ns, end_ns), onset_ns, symptom)
    if not found:
        typer.echo("no change of an object in the window", err=True)
    rows = [
        {
            "time": to_rfc3339(one.time_ns),
            "object": one.found.key,
            "verb": one.verb,
            "by": one.by,
            "services": list(services),
            "differences": [{"path": d.path, "before": d.before, "after": d.after} for d in one.differences],
        }
        for one, services in found
    ]
    lines = [f"{to_rfc3339(one.time_ns)}  {one.found.key} {one.text}" for one, _ in found]
    _say((rows, lines), output)


def _time(text: str, flag: str) -> int:
    from ..tracer.window import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=flag) from error


def _overview(store: Store, history: History, found: Cluster, namespace: str | None) -> tuple[Any, list[str]]:
    from ..analysis.evidence.kubernetes_causes import find_causes
    from ..analysis.evidence.kubernetes_measured import read_measured
    from ..tracer.window import to_rfc3339

    counts = {
        kind: sum(namespace in (None, o.namespace) for o in objects) for kind, objects in sorted(found.by_kind.items())
    }
    counts = {kind: count for kind, count in counts.items() if count}
    told = [
        f
        for f in (*find_causes(history), *read_measured(store, history))
        # What belongs to no namespace may be why one suffers.
        if namespace is None or f.found.namespace in (None, namespace)
    ]
    rows = {
        "at": to_rfc3339(found.at_ns or 0),
        "objects": counts,
        "findings": [
            {
                "rule": f.rule,
                "entity": f.entity,
                "kind": f.entity_kind,
                "onset": to_rfc3339(f.onset_ns),
                "text": f.text,
                "services": list(f.services),
                "command": f.command,
                "context": f.is_context,
            }
            for f in told
        ],
        "denied": dict(history.denied),
        "malformed": found.malformed,
    }
    lines = [f"{to_rfc3339(found.at_ns or 0)}: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items())]
    for f in told:
        lines += [f"{to_rfc3339(f.onset_ns)}  {f.text}{' (long before)' if f.is_context else ''}", f"    {f.command}"]
    lines += [] if told else ["nothing failed and nothing was changed in the hour before"]
    lines += [f"not read: {kind}: {why}" for kind, why in sorted(history.denied.items())]
    lines += [f"malformed: {key}" for key in found.malformed]
    return rows, lines


def _layer(found: Cluster, layer: str, namespace: str | None) -> tuple[Any, list[str]]:
    from ..graph.kubernetes_paths import layer_frame

    frame = layer_frame(found, layer)
    if namespace is not None:
        frame = frame[frame["source"].str.contains(f"/{namespace}/", regex=False)]
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    shown = [
        (r["source"], r["target"] + (" (does not exist)" if r["exists"] is False else ""), r["detail"]) for r in rows
    ]
    return rows, aligned([("from", "to", "how"), *shown], left=3) if shown else []


def _paths(found: Cluster, host: str) -> tuple[Any, list[str]]:
    from ..errors import GraphError
    from ..graph.kubernetes_paths import paths_of

    paths = paths_of(found, host)
    if not paths:
        routed = [e for e in found.edges if e.layer == "routing" and e.source.startswith("Ingress/")]
        known = sorted({e.detail.split("/")[0].split(" ")[0] for e in routed})
        raise GraphError(f"no Ingress or route has the host {host}; known: {', '.join(filter(None, known)) or 'none'}")
    return [{"path": list(p.keys), "broken": p.broken} for p in paths], [str(path) for path in paths]


def _start(start: PodStart) -> tuple[Any, list[str]]:
    rows = {
        "pod": start.pod.key,
        "stages": [
            {"name": s.name, "component": s.component, "time_ns": s.time_ns, "note": s.note} for s in start.stages
        ],
        "stuck": start.stuck.name if start.stuck else None,
    }
    return rows, str(start).splitlines()


def _say(shown: tuple[Any, list[str]], output: str) -> None:
    rows, lines = shown
    if output == "json":
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for line in lines:
        typer.echo(visible(line))
