"""Parts of the collector by themselves: settings, the lease, upkeep of the hour that fills, retention by size."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from store_rows import spans

from hypocenter.errors import ConfigError, SourceError
from hypocenter.tracer.collect.config import Doors, read_settings
from hypocenter.tracer.collect.lease import Lease
from hypocenter.tracer.collect.security import Tokens
from hypocenter.tracer.collect.upkeep import Upkeep, one_round
from hypocenter.tracer.store import Store
from hypocenter.tracer.store.compact import compact
from hypocenter.tracer.store.prune import prune, prune_to_size
from hypocenter.tracer.window import HOUR_NS

NOON = 1_700_049_600_000_000_000


def test_flags_go_over_the_file_and_sections_of_sources_are_kept(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "store: a\notlp: {grpc: 'h:1', http: null}\nprometheus: [http://p]\nzipkin: {url: http://z, listen: 'h:2'}\n"
    )
    settings = read_settings(tmp_path / "c.yaml", {"store": "b", "otlp": {"grpc": "h:3"}})
    assert (settings.store, settings.otlp, settings.zipkin.listen) == ("b", Doors("h:3", None), "h:2")
    assert settings.pulled == {"prometheus": ["http://p"], "zipkin": {"url": "http://z"}}


def test_example_of_the_manual_is_valid_and_names_every_setting(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/howto/collect.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "c.yaml").write_text(example)
    settings = read_settings(tmp_path / "c.yaml", {})
    assert settings.upkeep == Upkeep(30.0, 168.0, 50_000_000_000, True, False)
    sections = [settings, settings.otlp, settings.security, settings.limits, settings.bounds, settings.privacy]
    names = {field.name for section in sections for field in fields(section)} - {"pulled"}
    assert {name for name in names if f"{name}:" not in example} == set()
    assert set(settings.pulled) == {"prometheus", "alertmanager", "kubernetes"}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("stor: a", "stor: not a setting"),
        ("otlp: {grcp: x}", "otlp.grcp: not a setting"),
        ("{store: a, upkeep: {every_s: soon}}", "upkeep.every_s: expected float"),
        ("{store: a, security: {tls: {key: k}}}", "certificate"),
        ("[1]", "expected a mapping"),
        ("store: [", "expected YAML"),
        ("{}", "missing 'store'"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "c.yaml", {})
    assert named in str(caught.value)


def test_lease_is_held_by_one_and_passes_when_it_runs_out_or_is_given_up(tmp_path: Path) -> None:
    first, second = Lease(tmp_path / "lease", 0.2), Lease(tmp_path / "lease", 60)
    assert [first.hold(), second.hold(), first.hold()] == [True, False, True]
    time.sleep(0.3)
    assert [second.hold(), first.hold()] == [True, False]
    second.give_up()
    assert first.hold()


def test_tokens_can_be_rotated(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    with pytest.raises(SourceError):
        Tokens(path)
    path.write_text("old\n")
    tokens = Tokens(path)
    assert [tokens.admit(text) for text in ("Bearer old", "bearer old", "Basic old", "Bearer new", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    path.write_text("new-one\n")
    tokens._looked_at = float("-inf")
    assert [tokens.admit("Bearer old"), tokens.admit("Bearer new-one")] == [False, True]
    assert "new-one" not in repr(tokens)


def test_live_compaction_moves_each_row_a_few_times_at_most(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    moved = 0
    for number in range(64):
        store.append(spans(NOON + number), arrived_ns=NOON)
        moved += compact(store, now_ns=NOON + 1, live=True).rows
    assert moved <= 3 * 64
    assert len(store.segments("spans")) <= 16
    assert sorted(store.read("spans", columns=["start_ns"]).column(0).to_pylist()) == [NOON + n for n in range(64)]


def test_pruning_to_a_size_takes_what_arrived_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    for hour in (2, 0, 1):
        store.append(spans(NOON), arrived_ns=NOON + hour * HOUR_NS)
    sizes = [segment.path.stat().st_size for segment in store.segments("spans")]
    assert prune_to_size(store, sum(sizes)).segments == 0
    assert prune_to_size(store, sum(sizes) - 1).segments == 1
    assert [segment.arrived_hour_ns - NOON for segment in store.segments("spans")] == [HOUR_NS, 2 * HOUR_NS]
    assert prune_to_size(store, 0).rows == 2


def test_rows_of_a_clock_that_is_ahead_do_not_outlive_the_others(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    store.append(spans(4_102_444_800 * 10**9), arrived_ns=NOON)
    assert prune(store, NOON).segments == 0
    assert prune(store, NOON + HOUR_NS).segments == 1


def test_one_of_several_collectors_does_the_upkeep(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    settings, refreshed = Upkeep(keep_hours=1, keep_bytes=0), list[Any]()
    for number in range(8):
        store.append(spans(time.time_ns() - number))
    first, second = Lease(store.path / "upkeep.lease", 60), Lease(store.path / "upkeep.lease", 60)
    assert one_round(store, settings, first, refreshed.append).outcome == "done"
    assert one_round(store, settings, second, refreshed.append).outcome == "elsewhere"
    assert refreshed == [store]
    assert store.segments("spans") == []
