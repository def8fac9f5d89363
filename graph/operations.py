"""Which operations of a service are told apart: names that carry ids would be as many as the spans."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

OPERATIONS_PER_SERVICE = 200
OTHER = "_other"


def kept_operations(named: pa.Table) -> np.ndarray:
    """Tell which rows (``service``, ``operation``, ``spans``) keep their name: those with the most spans of a service.

    Operations with as many spans are kept in the order of their names; `OTHER` takes no place.
    """
    frame = named.select(["service", "operation", "spans"]).to_pandas()
    spans = frame.groupby(["service", "operation"], as_index=False)["spans"].sum()
    ranked = spans[spans["operation"] != OTHER].sort_values(["spans", "operation"], ascending=[False, True])
    ranked = ranked[ranked.groupby("service").cumcount() < OPERATIONS_PER_SERVICE]
    kept = pd.MultiIndex.from_frame(ranked[["service", "operation"]])
    found: np.ndarray = pd.MultiIndex.from_frame(frame[["service", "operation"]]).isin(kept)
    found |= frame["operation"].to_numpy() == OTHER
    return found
