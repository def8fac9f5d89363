"""Labelled incidents: a JSON line each. The label stays here; a ranker gets a `Case` built from an allow-list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypocenter.errors import CaseError

from ...tracer.layouts import read_case_files, read_graph
from ..case import Case, Symptom

# The only fields that reach a ranker; everything else in the line is label or bookkeeping.
_INPUTS = ("dataset", "paths", "baseline", "graph", "target", "inject_time_epoch_s")


@dataclass(frozen=True, slots=True)
class LabelledCase:
    """``answers`` is None when the label is absent (blind), empty when there is no fault."""

    name: str
    system: str
    fault_type: str
    answers: frozenset[str] | None
    inputs: Mapping[str, Any] = field(repr=False)
    root: Path

    def build(self, alert_offset_s: float = 0.0) -> Case:
        """Return the case as a ranker sees it, its alert ``alert_offset_s`` after the recorded injection."""
        dataset = self.inputs.get("dataset")
        target = self.inputs.get("target") or {}
        graph = self.inputs.get("graph")
        return Case(
            telemetry=read_case_files(self._paths(self.inputs.get("paths")), dataset),
            alert_ns=round((float(self.inputs["inject_time_epoch_s"]) + alert_offset_s) * 1e9),
            baseline=read_case_files(self._paths(self.inputs.get("baseline")), dataset),
            symptom=Symptom(target.get("node"), target.get("metric")),
            topology=read_graph(self.root / graph) if graph else None,
        )

    def _paths(self, roles: Mapping[str, Any] | None) -> dict[str, list[Path]]:
        found = {}
        for role, paths in (roles or {}).items():
            listed = [paths] if isinstance(paths, str) else list(paths or ())
            found[role] = [self.root / path for path in listed]
        return found


def read_cases(file: Path, root: Path | None = None) -> list[LabelledCase]:
    """Return the cases of a JSON-lines file; paths are relative to ``root``, by default the file's folder.

    Raises CaseError that names the line for a line that is not JSON or lacks ``inject_time_epoch_s`` or ``paths``.
    """
    folder = root or file.parent
    cases = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise CaseError(f"{file}: line {number}: not JSON: {error}") from error
        missing = [key for key in ("inject_time_epoch_s", "paths") if key not in record]
        if missing:
            raise CaseError(f"{file}: line {number}: missing {', '.join(missing)}")
        cases.append(
            LabelledCase(
                name=str(record.get("case", f"line-{number}")),
                system=str(record.get("system", "unknown")),
                fault_type=str(record.get("fault_type", "unknown")),
                answers=_answers(record),
                inputs={key: record[key] for key in _INPUTS if key in record},
                root=folder,
            )
        )
    return cases


def _answers(record: Mapping[str, Any]) -> frozenset[str] | None:
    if "root_causes" in record:
        return frozenset(c if isinstance(c, str) else c["service"] for c in record["root_causes"])
    if "root_cause_service" not in record:
        return None
    answer = record["root_cause_service"]
    return frozenset() if answer is None else frozenset([str(answer)])
