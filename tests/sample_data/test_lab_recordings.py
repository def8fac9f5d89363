"""The shipped recordings of the fault lab: whole, labelled as planned, and small."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hypocenter.tracer.schema import SIGNALS
from sample_data.lab.plan import plan

FOLDER = Path(__file__).parents[2] / "sample_data/lab"
LABELS = [json.loads(line) for line in (FOLDER / "CASES.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("label", LABELS, ids=lambda label: str(label["case"]))
def test_recording_has_every_signal_in_our_schema_within_its_window(label: dict[str, Any]) -> None:
    start_s = label["inject_time_epoch_s"] - label["baseline_seconds_before_inject"] - 60
    for path in (path for paths in label["paths"].values() for path in paths):
        table = pq.read_table(FOLDER / path)
        signal = Path(path).stem
        assert table.schema.equals(SIGNALS[signal])
        assert table.num_rows > 100
        times = {"spans": "start_ns", "logs": "time_ns", "points": "time_ns"}
        if signal in times:
            seconds = table[times[signal]].to_numpy() / 1e9
            assert start_s <= seconds.min()
            assert seconds.max() <= label["end_time_epoch_s"] + 60


@pytest.mark.parametrize("label", LABELS, ids=lambda label: str(label["case"]))
def test_label_is_the_plan_of_its_seed(label: dict[str, Any]) -> None:
    targets = "+".join(
        str(origin["edge"] or (origin["node"] if origin["granularity"] == "node" else origin["service"]))
        for origin in label["origin"]
    )
    if label["fault_type"] in ("none", "telemetry-loss"):
        targets = label["case"].removeprefix("telemetry-loss-").rpartition("-")[0]
    planned = plan(label["fault_type"], None if targets == "quiet" else targets, label["seed"]).label()
    for field in ("case", "root_causes", "origin", "split"):
        assert label[field] == planned[field]


def test_effect_begins_within_the_fault_and_only_where_it_was_visible() -> None:
    for label in LABELS:
        if label["effect_time_epoch_s"] is not None:
            assert label["effect_visible"]
            assert label["inject_time_epoch_s"] <= label["effect_time_epoch_s"] <= label["end_time_epoch_s"]


def test_shipped_are_forty_incidents_of_fifteen_kinds_and_ten_quiet_windows_in_both_halves() -> None:
    kinds = Counter(label["fault_type"] for label in LABELS)
    assert kinds.pop("none") >= 10
    assert kinds.total() >= 40
    assert len(kinds) >= 15
    assert {label["split"] for label in LABELS if label["root_causes"]} == {"train", "test"}


def test_recordings_stay_small() -> None:
    size = sum(path.stat().st_size for path in (FOLDER / "recordings").rglob("*.parquet"))
    assert size < 30 * 2**20
