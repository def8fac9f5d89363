"""Scrapes of the shop, kept as one OpenMetrics text with timestamps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families


@dataclass
class _Family:
    kind: str
    unit: str
    help: str
    series: dict[str, list[str]] = field(default_factory=dict)  # name and labels -> "value timestamp"


class MetricsRecording:
    """Samples by family and series, in the order of time."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def add_exposition(self, text: str, labels: Mapping[str, str], time_s: float) -> None:
        """Keep every sample of a scraped OpenMetrics text, with the target's labels."""
        for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
            # Of the client library, not of the service: the interpreter's garbage collector and build.
            if not family.name.startswith("python_"):
                kept = self._family(family.name, family.type, family.unit, family.documentation)
                for sample in family.samples:
                    if not sample.name.endswith("_created"):
                        _append(kept, sample.name, {**sample.labels, **labels}, sample.value, time_s)

    def add(
        self, name: str, kind: str, text: str, labels: Mapping[str, str], value: float, time_s: float, unit: str = ""
    ) -> None:
        """Keep one sample; a counter's name is given without ``_total``."""
        sample = f"{name}_total" if kind == "counter" else name
        _append(self._family(name, kind, unit, text), sample, labels, value, time_s)

    def to_text(self) -> str:
        """Return the OpenMetrics text: families by name, series by labels, samples by time."""
        lines = []
        for name, family in sorted(self._families.items()):
            lines.append(f"# TYPE {name} {family.kind}")
            if family.unit:
                lines.append(f"# UNIT {name} {family.unit}")
            if family.help:
                lines.append(f"# HELP {name} {family.help}")
            for series, samples in family.series.items():
                lines += [f"{series} {sample}" for sample in samples]
        return "\n".join([*lines, "# EOF", ""])

    def _family(self, name: str, kind: str, unit: str, text: str) -> _Family:
        return self._families.setdefault(name, _Family(kind, unit, " ".join(text.split())))


def _append(family: _Family, name: str, labels: Mapping[str, Any], value: float, time_s: float) -> None:
    inside = ",".join(f'{key}="{_escape(str(item))}"' for key, item in sorted(labels.items()))
    family.series.setdefault(f"{name}{{{inside}}}", []).append(f"{value:.10g} {time_s:.3f}")


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
