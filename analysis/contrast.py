"""What some spans have in common that others lack: the attributes whose values are more frequent among them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = ["attribute", "value", "inside", "outside", "difference", "n_inside", "n_outside", "z"]
_PLAIN = ("service", "name", "pod", "node", "kind", "status")
_MAPS = ("attributes", "resource")
# The columns of spans that are compared.
READ = (*_PLAIN, *_MAPS)


def contrast(spans: pa.Table, inside: np.ndarray) -> pd.DataFrame:
    """Return how often each attribute has each value among some spans and among the rest, the most different first.

    Parameters
    ----------
    spans
        Rows of `hypocenter.tracer.schema.SPANS`.
    inside
        Shape (n_spans,), True for the spans of the region.

    Returns
    -------
    Columns ``attribute``, ``value`` (JSON text, but plain for text), ``inside`` and ``outside`` (shares of all spans of
    that side), ``difference`` (inside less outside, -1..1), ``n_inside``, ``n_outside``, ``z`` (of the two-proportion
    test; its sign is that of the difference). Rows with a difference of 0 are left out; with an empty side there are
    none.

    Notes
    -----
    A value of one span alone tells nothing and is left out. The cost is linear in spans times attributes.
    """
    sizes = int(inside.sum()), int((~inside).sum())
    if not all(sizes):
        return pd.DataFrame(columns=COLUMNS)
    parts = [_of_map(spans, name) for name in _MAPS if name in spans.column_names]
    parts += [_of_column(spans, name) for name in _PLAIN if name in spans.column_names]
    told = pd.concat(parts, ignore_index=True)
    told["inside"] = inside[told.row.to_numpy()]
    # One span that holds a key twice counts once.
    told = told.drop_duplicates(["row", "attribute", "value"])
    counted = told.groupby(["attribute", "value"], sort=True).inside.agg(["sum", "size"]).reset_index()
    counted = counted[counted["size"] > 1]
    n_inside, n_outside = counted["sum"].to_numpy(), (counted["size"] - counted["sum"]).to_numpy()
    share_in, share_out = n_inside / sizes[0], n_outside / sizes[1]
    pooled = counted["size"].to_numpy() / sum(sizes)
    spread = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / sizes[0] + 1 / sizes[1]))
    found = pd.DataFrame(
        {
            "attribute": counted.attribute,
            "value": counted.value,
            "inside": share_in,
            "outside": share_out,
            "difference": share_in - share_out,
            "n_inside": n_inside,
            "n_outside": n_outside,
            "z": (share_in - share_out) / spread,
        }
    )
    found = found[found.difference != 0]
    order = found.assign(size=-found.difference.abs()).sort_values(["size", "attribute", "value"]).index
    return found.loc[order].reset_index(drop=True)


def _of_map(spans: pa.Table, name: str) -> pd.DataFrame:
    column = spans[name].combine_chunks()
    maps = column if isinstance(column, pa.MapArray) else pa.concat_arrays(column.chunks)
    offsets = maps.offsets.to_numpy()
    # A null map owns nothing, whatever its offsets say.
    lengths = np.where(maps.is_valid().to_numpy(zero_copy_only=False), np.diff(offsets), 0)
    places = np.repeat(offsets[:-1] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    places = places + np.arange(lengths.sum())
    keys, values = maps.keys.take(pa.array(places)), maps.items.take(pa.array(places))
    rows = np.repeat(np.arange(len(maps)), lengths)
    text = pc.replace_substring_regex(values, r'^"(.*)"$', r"\1")
    return pd.DataFrame({"row": rows, "attribute": keys.to_pandas(), "value": text.to_pandas()})


def _of_column(spans: pa.Table, name: str) -> pd.DataFrame:
    values = spans[name].to_pandas()
    frame = pd.DataFrame({"row": np.arange(len(values)), "attribute": name, "value": values})
    return frame.dropna(subset=["value"]).astype({"value": str})
