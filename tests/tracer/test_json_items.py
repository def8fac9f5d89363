"""JSON of any size, item by item, whatever the blocks it is read in."""

import io
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypocenter.tracer import json_items
from hypocenter.tracer.batch import Tally
from hypocenter.tracer.json_items import read_items
from hypocenter.tracer.source import Source, decompressed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")) | st.just('\\"[{'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ITEMS = st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), max_size=5)
SHAPES: dict[str, Callable[[list[object]], str]] = {
    "array": lambda items: json.dumps(items),
    "pretty array": lambda items: "\ufeff\n" + json.dumps(items, indent=1, ensure_ascii=False),
    "under a key": lambda items: json.dumps({"a": {"data": [1]}, "data": items, "total": "]}"}),
    "lines": lambda items: "".join(json.dumps(item) + "\n" for item in items),
    "pretty lines": lambda items: "".join(json.dumps(item, indent=1) + "\n" for item in items),
}


def read(text: str | bytes, arrays: tuple[str, ...] = ("data",)) -> tuple[list[object], Tally]:
    content = text.encode() if isinstance(text, str) else text
    values, tally = [], Tally()
    for items in read_items(Source("x", decompressed(io.BytesIO(content))), arrays):
        values += [value for value, _ in items]
        tally.add(items.tally)
    return values, tally


@pytest.mark.parametrize("shape", SHAPES)
@given(items=ITEMS, block=st.integers(1, 40))
def test_items_do_not_depend_on_blocks(shape: str, items: list[object], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_items, "_BLOCK_BYTES", block)
        values, tally = read(SHAPES[shape](items))
    assert (values, tally) == (items, Tally())


def test_object_without_the_array_is_one_item() -> None:
    assert read('{"other": [1]}')[0] == [{"other": [1]}]


def test_broken_items_are_dropped_at_their_byte() -> None:
    values, tally = read('[{"a": 1}, {"b": oops}, {"c": 3}, {"d": ')
    assert values == [{"a": 1}, {"c": 3}]
    assert tally.dropped == {"item that is not JSON": 1, "item cut short": 1}
    assert tally.problems[0].startswith("x: byte 11: ")
    assert tally.problems[1] == "x: byte 32: item cut short"


def test_what_follows_a_document_is_counted() -> None:
    document = '{"data": [{"a": 1}], "pad": "' + "x" * 70_000 + '"}'
    values, tally = read(document + "\n" + document)
    assert (values, tally.dropped) == ([{"a": 1}], {"values after the document": 1})


def test_several_documents_in_the_head_are_all_read() -> None:
    assert read('{"data": [1]}\n{"data": [2]}\n')[0] == [{"data": [1]}, {"data": [2]}]
