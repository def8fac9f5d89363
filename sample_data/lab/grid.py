"""A whole matrix of incidents, recorded one after another in one lab; what is there already is not done again."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg

from .matrix import MATRICES
from .plan import Incident, plan
from .recorder import Report, check, run, running_lab, save


def incidents(matrix: str = "shipped", **timing: float) -> list[Incident]:
    """Return the plans of a matrix in order; raises ValueError for one that is not there."""
    if matrix not in MATRICES:
        raise ValueError(f"unknown matrix {matrix!r}; known: {', '.join(MATRICES)}")
    return [plan(kind, target, seed, **timing) for kind, target, seed in MATRICES[matrix]]


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
    left: list[Incident] = []
    failures: list[str] = []
    for incident in missing(out, planned):
        try:
            check(incident)
            left.append(incident)
        except RuntimeError as error:
            failures.append(str(error))
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
