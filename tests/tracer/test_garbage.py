"""The pause of the search for cycles ends as it began."""

from __future__ import annotations

import gc

import pytest

from hypocenter.tracer.garbage import collection_paused


def test_search_for_cycles_goes_on_after_a_pause_even_one_that_failed() -> None:
    states = [gc.isenabled()]
    with pytest.raises(KeyError), collection_paused():
        states.append(gc.isenabled())
        with collection_paused():
            pass
        states.append(gc.isenabled())
        raise KeyError
    assert [*states, gc.isenabled()] == [True, False, False, True]


def test_search_that_is_off_already_stays_off() -> None:
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
