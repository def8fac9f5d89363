"""The benchmark of what a person waits for, at a small size."""

from __future__ import annotations

import pytest

from benchmarks.investigate import run


@pytest.mark.slow
def test_every_figure_is_drawn_and_measured() -> None:
    figures = run(spans=2_000, trace_spans=400, services=30)
    assert list(figures)[1:] == [
        "first figure, cold",
        "first figure of all, cold",
        "first figure, warm",
        "services",
        "longest traces",
        "spans that failed",
        "latency of a service",
        "map of 30 services",
        "waterfall of 400 spans",
        "report of an incident",
    ]
    assert figures["waterfall of 400 spans"]["result"].startswith("200 of 400 spans")
    assert [figures[name]["seconds"] > 0 for name in list(figures)[1:]] == [True] * 10
