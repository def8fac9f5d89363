"""The rollups that are laid down for the benchmark are read as a day of calls."""

from benchmarks.rollup import run


def test_more_traffic_is_more_calls_of_the_same_edges() -> None:
    figures = run(services=12, hours=2, calls=10_000, times=10)
    low, high = figures["at 10,000 calls an hour"], figures["at 100,000 calls an hour"]
    assert low["edges"] == high["edges"] > 12
    assert 18_000 < low["calls"] <= 20_000
    assert 180_000 < high["calls"] <= 200_000
    assert min(found[name] for found in (low, high) for name in found if name.endswith("seconds")) > 0
