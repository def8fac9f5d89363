"""The same cases under worse conditions: a wrong alert time, lost spans, a missing modality, a silent service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from . import derive
from .cases import CaseReader, Derive, LabelledCase
from .runner import Prediction, run

ALERT_OFFSETS_S = (-300, -180, -120, -60, 60, 120, 180, 300)
SPANS_LOST = (0.1, 0.3, 0.5)
MODALITIES = ("traces", "metrics", "logs")


@dataclass(frozen=True, slots=True)
class Condition:
    """A name for the table, the alert's error in seconds, and what is taken from a case, which may depend on it."""

    name: str
    alert_offset_s: float = 0.0
    taken: Callable[[LabelledCase], Sequence[Derive]] = lambda case: ()


def conditions() -> list[Condition]:
    """Return all conditions in the order of the table."""
    late = [Condition(f"alert {seconds:+d} s", seconds) for seconds in ALERT_OFFSETS_S]
    lost = [_always(f"{round(100 * part)} % of the spans lost", derive.drop_spans(part)) for part in SPANS_LOST]
    blind = [_always(f"without {modality}", derive.without(modality)) for modality in MODALITIES]
    silent = Condition("the origin is not instrumented", taken=_origins_silent)
    return [*late, *lost, *blind, silent]


def _always(name: str, change: Derive) -> Condition:
    return Condition(name, taken=lambda case: (change,))


def _origins_silent(case: LabelledCase) -> Sequence[Derive]:
    return [derive.uninstrumented(service) for service in sorted(case.answers or ())]


def sweep(
    cases: Sequence[LabelledCase],
    rankers: Sequence[str],
    asked: Sequence[Condition],
    progress: Callable[[int, str], None] | None = None,
) -> Iterator[tuple[Condition, Prediction]]:
    """Yield each prediction with its condition; a case's files are read once for all of them."""
    reader = CaseReader()
    for index, case in enumerate(cases):
        for condition in asked:
            if progress:
                progress(index * len(asked) + asked.index(condition), f"{case.name}: {condition.name}")
            changed = derive.derived(case, condition.taken(case))
            for prediction in run([changed], rankers, condition.alert_offset_s, reader=reader):
                yield condition, prediction
