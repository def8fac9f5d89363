"""Edits of the small cluster of `kubernetes_shop`, and the findings that follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kubernetes_objects import Manifest, at
from kubernetes_shop import Snapshot, changed, history, shop

from hypocenter.analysis.evidence.kubernetes_causes import Finding, causes
from hypocenter.graph.kubernetes_services import Speakers

NAME = "cart-7d4b9c6f5d-x2x9z"
CART, POD = "Deployment/cart", f"Pod/{NAME}"
SPEAKERS = Speakers({}, {}, frozenset({"web", "cart", "report"}))
Edit = Callable[[Snapshot], Any]


def found(
    edit: Edit, *events: Manifest, before: Edit | None = None, calls: tuple[tuple[str, str], ...] = ()
) -> list[Finding]:
    """Return the findings on a shop that is edited at second 100."""
    quiet = changed(shop(), before) if before else shop()
    problems: list[str] = []
    steps = [(0.0, quiet), (100.0, changed(quiet, edit))]
    told = causes(history(steps, events), SPEAKERS, calls, heard_ns=at(200), problems=problems)
    assert problems == []
    return told


def status_of(key: str, **parts: Any) -> Edit:
    return lambda objects: objects[key]["status"].update(parts)


def spec_of(key: str, **parts: Any) -> Edit:
    return lambda objects: objects[key]["spec"].update(parts)


def add(one: Manifest) -> Edit:
    return lambda objects: objects.update({f"{one['kind']}/{one['metadata']['name']}": one})


def both(*edits: Edit) -> Edit:
    def edit(objects: Snapshot) -> None:
        for each in edits:
            each(objects)

    return edit


@dataclass(frozen=True)
class Cause:
    """What is done, and the finding that must come first."""

    name: str
    edit: Edit
    rule: str
    entity: str
    kind: str
    onset: float
    text: str
    command: str
    services: tuple[str, ...] = ("cart",)
    events: tuple[Manifest, ...] = ()
    before: Edit | None = None
    calls: tuple[tuple[str, str], ...] = field(default=())
