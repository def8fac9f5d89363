"""What some spans have in common that others lack: the attributes whose values are more frequent among them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = ["attribute", "value", "inside", "outside", "difference", "n_inside", "n_outside", "z"]
_TEXTS, _NUMBERS, _MAPS = ("service", "name", "pod", "node"), ("kind", "status"), ("attributes", "resource")
# The columns of spans that are compared.
READ = (*_TEXTS, *_NUMBERS, *_MAPS)


def counting(inside: str) -> str:
    """Return the query that counts, in one pass over ``rows``, how often each attribute has each value.

    Its answer has ``attribute``, ``value`` (JSON), ``n_inside`` and ``n_outside``: spans for which the condition
    ``inside`` holds, and the others. One span that tells a value twice counts once.

    Notes
    -----
    Many spans are alike: they are counted before their attributes are taken apart.
    """
    told = [f"{{'key': '{name}', 'value': to_json({name})::VARCHAR}}" for name in _TEXTS]
    told += [f"{{'key': '{name}', 'value': {name}::VARCHAR}}" for name in _NUMBERS]
    lists = [*(f"coalesce(map_entries({name}), [])" for name in _MAPS), f"[{', '.join(told)}]"]
    alike = f"""
        SELECT {", ".join(READ)}, count(*) FILTER ({inside}) AS inside, count(*) FILTER (NOT ({inside})) AS outside
        FROM rows GROUP BY {", ".join(READ)}"""
    apart = f"SELECT inside, outside, unnest(list_distinct(list_concat({', '.join(lists)}))) AS told FROM ({alike})"
    return f"""
        SELECT told.key AS attribute, told.value AS value,
            sum(inside)::BIGINT AS n_inside, sum(outside)::BIGINT AS n_outside
        FROM ({apart}) WHERE told.value IS NOT NULL
        GROUP BY told.key, told.value HAVING sum(inside) + sum(outside) > 1"""


def contrast(counted: pa.Table, sizes: tuple[int, int]) -> pd.DataFrame:
    """Return how often each attribute has each value among some spans and among the rest, the most different first.

    Parameters
    ----------
    counted
        The answer of the query `counting`.
    sizes
        How many spans lie inside and outside.

    Returns
    -------
    Columns ``attribute``, ``value`` (JSON text, but plain for text), ``inside`` and ``outside`` (shares of all spans of
    that side), ``difference`` (inside less outside, -1..1), ``n_inside``, ``n_outside``, ``z`` (of the two-proportion
    test; its sign is that of the difference). Rows with a difference of 0 are left out; with an empty side there are
    none. A value of one span alone tells nothing and is left out too.
    """
    if not all(sizes):
        return pd.DataFrame(columns=COLUMNS)
    plain = pc.replace_substring_regex(counted["value"], r'^"(.*)"$', r"\1")
    told = counted.set_column(counted.schema.get_field_index("value"), "value", plain).to_pandas()
    summed = told.groupby(["attribute", "value"], sort=False)[["n_inside", "n_outside"]].sum().reset_index()
    share_in, share_out = summed.n_inside / sizes[0], summed.n_outside / sizes[1]
    pooled = (summed.n_inside + summed.n_outside) / sum(sizes)
    spread = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / sizes[0] + 1 / sizes[1]))
    difference = share_in - share_out
    found = summed.assign(inside=share_in, outside=share_out, difference=difference, z=difference / spread)
    found = found[found.difference != 0].assign(size=-difference.abs())
    return found.sort_values(["size", "attribute", "value"], ignore_index=True)[COLUMNS]
