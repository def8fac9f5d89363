"""Labelled incidents: a JSON line each. The label stays here; a ranker gets a `Case` built from an allow-list."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from hypocenter.errors import CaseError

from ...tracer.batch import Batch, concat
from ...tracer.layouts import read_case_files, read_graph
from ..case import Case, Symptom
from .origins import Origin, read_origins

# The only fields that reach a ranker; everything else in the line is label or bookkeeping.
_INPUTS = ("dataset", "paths", "baseline", "graph", "target", "inject_time_epoch_s")
# The metrics of a day serve all its cases and their baselines; more would only hold memory.
_BATCHES_KEPT = 6


Derive = Callable[[Case], Case]


@dataclass(frozen=True, slots=True)
class LabelledCase:
    """``answers`` is None when the label is absent (blind), empty when there is no fault.

    ``origins`` are the answers as finely as the label tells them; ``derive`` changes what a ranker gets of the case
    (`hypocenter.analysis.evaluation.derive`).
    """

    name: str
    system: str
    fault_type: str
    answers: frozenset[str] | None
    inputs: Mapping[str, Any] = field(repr=False)
    root: Path
    derive: Derive | None = None
    origins: tuple[Origin, ...] = ()

    def files(self, of: Literal["paths", "baseline"]) -> dict[str, tuple[Path, ...]]:
        """Return the files by role (metrics, traces, logs) of the incident or of its baseline."""
        found = {}
        for role, paths in (self.inputs.get(of) or {}).items():
            listed = [paths] if isinstance(paths, str) else list(paths or ())
            found[role] = tuple(self.root / path for path in listed)
        return found


class CaseReader:
    """Turns labelled cases into what a ranker sees; files that neighbouring cases share are read once."""

    def __init__(self) -> None:
        self._read = lru_cache(_BATCHES_KEPT)(_read_role)

    def read(self, labelled: LabelledCase, alert_offset_s: float = 0.0) -> Case:
        """Return the case, its alert ``alert_offset_s`` seconds after the recorded injection.

        Raises SourceError and DecodeError as `hypocenter.tracer.layouts.read_case_files` does.
        """
        inputs = labelled.inputs
        target = inputs.get("target") or {}
        graph = inputs.get("graph")
        batches = {
            of: concat(self._read(role, files, inputs.get("dataset")) for role, files in labelled.files(of).items())
            for of in ("paths", "baseline")
        }
        case = Case(
            telemetry=batches["paths"],
            alert_ns=round((float(inputs["inject_time_epoch_s"]) + alert_offset_s) * 1e9),
            baseline=batches["baseline"],
            symptom=Symptom(target.get("node"), target.get("metric")),
            topology=read_graph(labelled.root / graph) if graph else None,
        )
        return labelled.derive(case) if labelled.derive else case


def _read_role(role: str, files: tuple[Path, ...], dataset: str | None) -> Batch:
    return read_case_files({role: files}, dataset)


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
        if not isinstance(record, dict):
            raise CaseError(f"{file}: line {number}: expected a JSON object")
        missing = [key for key in ("inject_time_epoch_s", "paths") if key not in record]
        if missing:
            raise CaseError(f"{file}: line {number}: missing {', '.join(missing)}")
        try:
            float(record["inject_time_epoch_s"])
        except (TypeError, ValueError):
            raise CaseError(f"{file}: line {number}: inject_time_epoch_s: expected epoch seconds") from None
        cases.append(
            LabelledCase(
                name=str(record.get("case", f"line-{number}")),
                system=str(record.get("system", "unknown")),
                fault_type=str(record.get("fault_type", "unknown")),
                answers=_answers(record, f"{file}: line {number}"),
                inputs={key: record[key] for key in _INPUTS if key in record},
                root=folder,
                origins=read_origins(record),
            )
        )
    return cases


def _answers(record: Mapping[str, Any], place: str) -> frozenset[str] | None:
    if "root_causes" in record:
        found = []
        for cause in record["root_causes"] or ():
            service = cause.get("service") if isinstance(cause, Mapping) else cause
            if not isinstance(service, str):
                raise CaseError(f"{place}: root_causes: expected a service name or an object with one, got {cause!r}")
            found.append(service)
        return frozenset(found)
    if "root_cause_service" not in record:
        return None
    answer = record["root_cause_service"]
    return frozenset() if answer is None else frozenset([str(answer)])
