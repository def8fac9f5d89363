"""The whole matrix of incidents, recorded one after another in one lab; what is there already is not done again."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg

from .plan import Incident, plan
from .recorder import Report, run, running_lab, save

# Kind, target, seed. The kinds that make up most incidents come first, and a quiet window after every few.
MATRIX: tuple[tuple[str, str | None, int], ...] = (
    ("none", None, 1),
    ("exception", "inventory", 1),
    ("slow-handler", "payment", 1),
    ("crash", "pricing", 1),
    ("config-change", "checkout", 1),
    ("bad-rollout", "catalog", 1),
    ("memory-leak", "account", 1),
    ("none", None, 2),
    ("cpu-burn", "storefront", 1),
    ("network-delay", "checkout->payment", 1),
    ("slow-query", "store-db", 1),
    ("third-party-slow", "bank", 1),
    ("pool-exhaustion", "account", 1),
    ("lock-contention", "store-db", 1),
    ("none", None, 3),
    ("cache-down", "cache", 1),
    ("dns-failure", "checkout", 1),
    ("expired-credential", "payment", 1),
    ("disk-full", "invoice", 1),
    ("partition", "cart->catalog", 1),
    ("hang", "pricing", 1),
    ("none", None, 4),
    ("crash-loop", "payment", 1),
    ("packet-loss", "storefront->catalog", 1),
    ("wrong-value", "pricing", 1),
    ("retry-storm", "catalog", 1),
    ("noisy-neighbour", "node-a", 1),
    ("traffic-surge", "gateway", 1),
    ("none", None, 5),
    ("third-party-down", "bank", 1),
    ("broker-backlog", "fulfilment", 1),
    ("telemetry-loss", "payment", 1),
    ("freeze", "search", 1),
    ("bandwidth", "checkout->payment", 1),
    ("exception", "cart", 2),
    ("none", None, 6),
    ("slow-handler", "review", 2),
    ("crash", "review", 2),
    ("network-delay", "gateway->account", 2),
    ("exception+slow-handler", "inventory+search", 1),
    ("none", None, 7),
    ("poison-message", "fulfilment", 1),
    ("clock-skew", "checkout", 1),
    ("cache-evicted", "cache", 1),
    ("none", None, 8),
    ("slow-handler", "catalog", 2),
    ("exception", "account", 2),
    ("config-change", "cart", 2),
    ("none", None, 9),
    ("memory-leak", "review", 2),
    ("pool-exhaustion", "review", 2),
    ("none", None, 10),
    ("bad-rollout", "recommendation", 2),
    ("crash-loop", "cart", 2),
    ("hang", "invoice", 2),
)


def incidents(**timing: float) -> list[Incident]:
    """Return the plans of the matrix in order."""
    return [plan(kind, target, seed, **timing) for kind, target, seed in MATRIX]


def missing(out: Path, planned: list[Incident]) -> list[Incident]:
    """Return the incidents that are not recorded in ``out``: a label without its files counts as missing."""
    file = out / "CASES.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    done = {}
    for label in map(json.loads, lines):
        done[label["case"]] = all((out / path).exists() for paths in label["paths"].values() for path in paths)
    return [incident for incident in planned if not done.get(incident.case)]


# They take processors that another lab on the machine would miss.
ALONE = frozenset({"noisy-neighbour", "traffic-surge"})


def part_of(planned: list[Incident], part: int, parts: int) -> list[Incident]:
    """Return every ``parts``-th incident, so that several labs can share the matrix; what must be alone is left out."""
    return [i for i in planned if parts == 1 or i.kind not in ALONE][part - 1 :: parts]


def record_all(out: Path, planned: list[Incident], report: Report) -> list[dict[str, Any]]:
    """Record what is missing and return its labels; ``report`` gets the share of the whole matrix."""
    left = missing(out, planned)
    failures: list[str] = []
    labels: list[dict[str, Any]] = []
    while left:
        # A lab that an incident left in a bad state is replaced by a fresh one.
        # Each is written while the next one happens.
        with running_lab(report=report) as lab, ThreadPoolExecutor(1) as writer:
            saving: list[Future[dict[str, Any]]] = []
            while left:
                incident = left.pop(0)
                done = len(planned) - len(left) - 1

                def told(what: str, _share: float, case: str = incident.case, done: int = done) -> None:
                    report(f"{done + 1}/{len(planned)} {case}: {what}", done / len(planned))

                try:
                    saving.append(writer.submit(save, lab, incident, run(lab, incident, told), out))
                except (RuntimeError, OSError, httpx.HTTPError, psycopg.Error) as error:
                    failures.append(f"{incident.case}: {type(error).__name__}: {error}")
                    break
            labels += [saved.result() for saved in saving]
    if failures:
        raise RuntimeError(f"not recorded: {'; '.join(failures)}")
    return labels
