"""The files of one labelled incident, by role, read into one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hypocenter.errors import SourceError

from .batch import Batch, concat
from .readers import nezha, petshop, rcaeval, wide_csv

if TYPE_CHECKING:
    import networkx as nx


def read_case_files(paths: Mapping[str, Sequence[Path]], dataset: str | None = None) -> Batch:
    """Return all telemetry of the files in ``paths`` (keys metrics, traces, logs).

    ``dataset`` names the layout; when absent or unknown each file is recognised by its header. Raises SourceError for a
    file that does not exist, DecodeError for one that cannot be read.
    """
    batches = []
    for role in ("metrics", "traces", "logs"):
        for path in paths.get(role, ()):
            if not path.exists():
                raise SourceError(f"{path}: no such file; paths are relative to --root")
            batches.append(_read(role, path, dataset))
    return concat(batches)


def _read(role: str, path: Path, dataset: str | None) -> Batch:
    if role in ("traces", "logs") and dataset != "nezha" and rcaeval.matches(path):
        return rcaeval.read_traces(path) if role == "traces" else rcaeval.read_logs(path)
    if role == "traces":
        return nezha.read_traces(path)
    if role == "logs":
        return nezha.read_logs(path)
    if dataset == "nezha" or (dataset != "petshop" and nezha.is_metric_file(path)):
        return nezha.read_metrics(path)
    if dataset == "petshop" or petshop.matches(path):
        return petshop.read_metrics(path)
    return wide_csv.read_metrics(path)


def read_graph(path: Path) -> nx.DiGraph[str]:
    """Return the caller -> callee graph of an adjacency matrix in CSV: the row calls the column where the cell is 1."""
    return petshop.read_graph(path)
