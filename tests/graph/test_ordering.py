"""Sorting by several keys at once equals sorting by one key after the other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hypocenter.graph.ordering import ordered

KEYS = {
    "few": st.integers(0, 3),
    "wide": st.sampled_from([-(2**62), -1, 0, 1, 2**62]),
    "flags": st.booleans(),
    "ids": st.sampled_from([0, 1, 2**63, 2**64 - 1]),
}
TYPES = {"few": np.int64, "wide": np.int64, "flags": np.bool_, "ids": np.uint64}


@given(st.data(), st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=4), st.integers(0, 30))
def test_order_is_that_of_lexsort(data: st.DataObject, names: list[str], rows: int) -> None:
    keys = [
        np.array(data.draw(st.lists(KEYS[name], min_size=rows, max_size=rows)), dtype=TYPES[name]) for name in names
    ]
    assert ordered(*keys).tolist() == np.lexsort(keys[::-1]).tolist()
