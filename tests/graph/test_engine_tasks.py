"""Tasks of the engine of one machine: in order, in this process or in several."""

from __future__ import annotations

import os
import signal

import pytest

from hypocenter.errors import SourceError
from hypocenter.graph.engine import open_engine


def _where(number: int) -> tuple[int, int]:
    return number, os.getpid()


def _die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_few_tasks_are_done_in_this_process_and_many_in_others_and_results_come_in_order() -> None:
    with open_engine(processes=2) as engine:
        assert list(engine.each(_where, [7, 8])) == [(7, os.getpid()), (8, os.getpid())]
        found = list(engine.each(_where, range(20)))
    assert [number for number, _ in found] == list(range(20))
    assert os.getpid() not in {process for _, process in found}
    with open_engine() as engine:
        assert {process for _, process in engine.each(_where, range(20))} == {os.getpid()}


def test_process_that_is_killed_is_an_error_that_says_so() -> None:
    with open_engine(processes=2) as engine, pytest.raises(SourceError, match="ended in the middle"):
        list(engine.each(_die, range(8)))
