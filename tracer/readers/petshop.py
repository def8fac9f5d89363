"""The layout of the PetShop recordings: wide CSV under three header rows (microservice, metric, statistic)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from hypocenter.errors import DecodeError

from ..batch import Batch, Tally
from ..schema import SERIES
from .wide_csv import points_of, time_to_ns

if TYPE_CHECKING:
    import networkx as nx


def matches(path: Path) -> bool:
    """Tell whether ``path`` begins with the three header rows."""
    first = pd.read_csv(path, nrows=3, header=None, dtype=str)
    return len(first) == 3 and str(first.iloc[0, 0]).lower() == "microservice"


def read_metrics(path: Path) -> Batch:
    """Return the series ``metric/statistic`` of each microservice; empty cells are unknown, not zero."""
    from .nezha import table_of

    try:
        frame = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    except (ValueError, OSError) as error:
        raise DecodeError(str(path), "header", f"expected three header rows; {error}") from error
    time_ns = time_to_ns(pd.Series(frame.index), path)
    rows, points = [], []
    for position, (service, metric, statistic) in enumerate(frame.columns):
        series_id = f"{service}/{metric}/{statistic}"
        rows.append({"series_id": series_id, "name": f"{metric}/{statistic}", "service": service})
        points.append(points_of(series_id, time_ns, frame.iloc[:, position]))
    listing = pd.DataFrame(rows)
    columns: dict[str, object] = {name: listing[name] for name in listing}
    columns |= {"kind": ["gauge"] * len(listing), "source": [str(path)] * len(listing)}
    joined = pa.concat_tables(points)
    tally = Tally()
    tally.accepted["points"] += len(joined)
    return Batch({"series": table_of(SERIES, columns, len(listing)), "points": joined}, tally)


def read_graph(path: Path) -> nx.DiGraph[str]:
    """Return the graph of a 0/1 adjacency matrix; the row calls the column."""
    import networkx as nx

    frame = pd.read_csv(path, index_col=0)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(str(name) for name in frame.index)
    for caller, row in frame.iterrows():
        graph.add_edges_from((str(caller), str(callee)) for callee, cell in row.items() if cell == 1)
    return graph
