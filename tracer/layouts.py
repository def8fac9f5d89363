"""The files of one labelled incident, by role, read into one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hypocenter.errors import SourceError

from .batch import Batch, concat
from .detect import decode
from .reader import Reader
from .readers import (
    dependency_graph,
    nezha_logs,
    nezha_metrics,
    nezha_traces,
    petshop_metrics,
    rcaeval_logs,
    rcaeval_traces,
    wide_csv,
)
from .source import Source, open_source

if TYPE_CHECKING:
    import networkx as nx

# The readers of a known layout by role.
_LAYOUTS: dict[str, dict[str, Reader]] = {
    "nezha": {"metrics": nezha_metrics, "traces": nezha_traces, "logs": nezha_logs},
    "petshop": {"metrics": petshop_metrics},
    "rcaeval": {"metrics": wide_csv, "traces": rcaeval_traces, "logs": rcaeval_logs},
}


def read_case_files(paths: Mapping[str, Sequence[Path]], dataset: str | None = None) -> Batch:
    """Return all telemetry of the files in ``paths`` (keys metrics, traces, logs).

    ``dataset`` names the layout; when it is absent or unknown, each file is recognised by its content. Raises
    SourceError for a file that does not exist, DecodeError for one that cannot be read.
    """
    batches: list[Batch] = []
    for role in ("metrics", "traces", "logs"):
        for path in paths.get(role, ()):
            if not path.exists():
                raise SourceError(f"{path}: no such file; paths are relative to --root")
            with open_source(path) as source:
                batches.extend(_read(source, _LAYOUTS.get(dataset or "", {}).get(role)))
    return concat(batches)


def _read(source: Source, known: Reader | None) -> Iterator[Batch]:
    # A graph may lie beside the metrics of a recording.
    is_graph = known is not None and dependency_graph.matches(source.head(), source.file_name)
    return decode(source, dependency_graph if is_graph else known)


def read_graph(path: Path) -> nx.DiGraph[str]:
    """Return the caller -> callee graph of a file (`dependency_graph.read_graph`).

    Raises SourceError for a file that does not exist, DecodeError for one that is no graph.
    """
    with open_source(path) as source:
        return dependency_graph.read_graph(source)
