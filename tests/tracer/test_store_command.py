"""``hypocenter store``: figures on standard output, what is wrong on standard error and in the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from store_rows import points, spans
from typer.testing import CliRunner, Result

from hypocenter.cli.store import store as command
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store

NOON = 1_700_049_600_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store", create=True)
    for number in range(3):
        batch = Batch({**spans(NOON + number).tables, **points(NOON).tables}) if number else spans(NOON)
        made.append(batch, name=f"s{number}", arrived_ns=NOON)
    return made


def call(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def size(store: Store, signal: str) -> int:
    return sum(segment.path.stat().st_size for segment in store.segments(signal))


def test_info_says_what_each_signal_holds(store: Store) -> None:
    shown = json.loads(call("info", str(store.path), "-o", "json").stdout)
    empty = {"segments": 0, "rows": 0, "size_bytes": 0, "since": None, "until": None}
    since = "2023-11-15T12:00:00Z"
    assert shown == {
        "signals": {
            **dict.fromkeys(["spans", "series", "points", "logs", "events", "objects"], empty),
            "spans": {
                "segments": 3,
                "rows": 3,
                "size_bytes": size(store, "spans"),
                "since": since,
                "until": "2023-11-15T12:00:00.000000003Z",
            },
            "points": {
                "segments": 2,
                "rows": 2,
                "size_bytes": size(store, "points"),
                "since": since,
                "until": "2023-11-15T12:00:00.000000001Z",
            },
        },
        "problems": [],
    }
    lines = [line.split() for line in call("info", str(store.path)).stdout.splitlines()]
    assert lines[0] == ["signal", "segments", "rows", "bytes", "since", "until"]
    assert lines[3] == [
        "points",
        "2",
        "2",
        f"{size(store, 'points'):,}",
        "2023-11-15T12:00:00Z",
        "2023-11-15T12:00:00Z",
    ]


def test_compact_and_prune_print_what_they_did(store: Store) -> None:
    compacted = call("compact", str(store.path), "-o", "json")
    assert json.loads(compacted.stdout) == {"replaced": 5, "written": 2, "rows": 5}
    pruned = call("prune", str(store.path), "--before", "2023-11-16")
    assert (pruned.exit_code, pruned.stdout) == (0, "segments: 2\nrows: 5\n")
    assert store.segments("spans") == []


def test_prune_keeps_so_many_bytes_of_what_arrived_last(store: Store) -> None:
    (last,) = store.append(spans(NOON), arrived_ns=NOON + 3600 * 10**9)
    pruned = call("prune", str(store.path), "--keep-bytes", str(last.path.stat().st_size))
    assert (pruned.exit_code, pruned.stdout) == (0, "segments: 5\nrows: 5\n")
    assert (store.segments("spans"), store.segments("points")) == ([last], [])


def test_check_exits_with_1_and_names_the_damaged_segment(store: Store) -> None:
    sound = call("check", str(store.path), "-o", "json")
    total = size(store, "spans") + size(store, "points")
    assert sound.exit_code == 0
    assert json.loads(sound.stdout) == {"segments": 5, "rows": 5, "size_bytes": total, "problems": []}
    path = store.segments("spans")[1].path
    path.write_bytes(path.read_bytes()[:80])
    damaged = call("check", str(store.path))
    assert damaged.exit_code == 1
    assert damaged.stdout.startswith("segments: 4\nrows: 4\n")
    assert damaged.stderr.startswith(f"skipped: {path}: not a whole Parquet file")


@pytest.mark.parametrize("wrong", [["info", "-o", "xml"], ["prune", "--before", "yesterday"], ["prune"]])
def test_wrong_option_is_a_usage_error(store: Store, wrong: list[str]) -> None:
    assert call(*wrong, str(store.path)).exit_code == 2
