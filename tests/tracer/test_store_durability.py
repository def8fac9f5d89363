"""What a store promises when its writer dies, the disk fills, or several processes use it at once."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from store_rows import points, spans

from hypocenter.errors import SourceError
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.store import Store

NOON = 1_700_049_600_000_000_000
HOUR = "date=2023-11-15/hour=12"

# Appends numbered batches of ten spans and says each number once it is acknowledged.
WRITER = """
import sys
sys.path.insert(0, {here!r})
from store_rows import spans
from hypocenter.tracer.store import Store
store = Store({store!r}, create=True)
print("ready", flush=True)
for number in range({first}, {first} + {count}):
    store.append(spans(*range(number * 10, number * 10 + 10)))
    print(number, flush=True)
"""


def writer(store: Path, first: int, count: int) -> subprocess.Popen[str]:
    code = WRITER.format(here=str(Path(__file__).parent), store=str(store), first=first, count=count)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


def starts(store: Store) -> list[int]:
    return store.read("spans", columns=["start_ns"]).column(0).to_pylist()


def test_killed_writer_loses_nothing_acknowledged_and_leaves_nothing_partial(tmp_path: Path) -> None:
    path = tmp_path / "store"
    acknowledged: list[int] = []
    for kill in range(4):
        process = writer(path, first=1000 * kill, count=1000)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # Not after a line has come: the kill hits between any two system calls.
        heard = [process.stdout.readline() for _ in range(1 + 7 * kill)]
        os.kill(process.pid, signal.SIGKILL)
        heard += process.stdout.readlines()
        process.stdout.close()
        process.wait()
        acknowledged += [int(line) for line in heard if line.endswith("\n")]
    store = Store(path)
    rows = Counter(time_ns // 10 for time_ns in starts(store))
    assert store.problems == []
    assert set(rows.values()) == {10}
    assert set(acknowledged) <= set(rows)
    # A batch may be durable with its acknowledgement unsaid, at most one a kill.
    assert len(rows) - len(acknowledged) <= 4


def test_readers_see_whole_batches_while_several_processes_append(tmp_path: Path) -> None:
    path = tmp_path / "store"
    Store(path, create=True)
    writers = [writer(path, first=1000 * number, count=20) for number in range(3)]
    outputs = [process.stdout for process in writers if process.stdout is not None]
    try:
        store, seen = Store(path), 0
        assert [output.readline() for output in outputs] == ["ready\n"] * 3
        while any(output.readline() for output in outputs):
            rows = Counter(time_ns // 10 for time_ns in starts(store))
            assert set(rows.values()) == {10}
            assert len(rows) >= seen
            seen = len(rows)
    finally:
        for process in writers:
            process.kill()
            process.communicate()
    assert rows == dict.fromkeys((1000 * number + batch for number in range(3) for batch in range(20)), 10)
    assert store.problems == []


class Recorder:
    """Notes the calls that make files durable, in order, with paths below a root; folders end in a slash."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str]] = []
        self._root, self._paths = root, dict[int, Path]()
        self._open, self._fsync, self._rename = os.open, os.fsync, Path.rename
        patch.setattr(os, "open", self.open)
        patch.setattr(os, "fsync", self.fsync)
        patch.setattr(Path, "rename", lambda source, target: self.rename(source, target))

    def open(self, path: Any, *arguments: Any, **options: Any) -> int:
        descriptor = self._open(path, *arguments, **options)
        if not isinstance(path, int):
            self._paths[descriptor] = Path(os.fsdecode(path))
        return descriptor

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        path = self._paths[descriptor]
        self.calls.append(("fsync", self._name(path) + "/" * path.is_dir()))

    def rename(self, source: Path, target: Path) -> Path:
        moved = self._rename(source, target)
        self.calls.append(("rename", self._name(target)))
        return moved

    def _name(self, path: Path) -> str:
        relative = path.relative_to(self._root)
        return f"tmp/*.{'.'.join(path.name.split('.')[1:])}" if relative.parts[:1] == ("tmp",) else str(relative)


def test_file_is_synced_before_its_name_and_the_name_before_the_acknowledgement(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch({**spans(1).tables, **points(1).tables})
    recorder = Recorder(store.path, monkeypatch)
    store.append(batch, name="a", arrived_ns=NOON)
    new_partition = lambda s: [("fsync", f"{s}/date=2023-11-15/"), ("fsync", f"{s}/"), ("fsync", "./")]  # noqa: E731
    publication = [
        ("rename", f"spans/{HOUR}/a.parquet"),
        ("rename", f"points/{HOUR}/a.parquet"),
        ("fsync", f"spans/{HOUR}/"),
        ("fsync", f"points/{HOUR}/"),
    ]
    assert recorder.calls == [
        ("fsync", "tmp/*.spans.parquet"),
        *new_partition("spans"),
        ("fsync", "tmp/*.points.parquet"),
        *new_partition("points"),
        *publication,
    ]
    recorder.calls.clear()
    store.append(batch, name="b", arrived_ns=NOON)
    assert recorder.calls == [
        ("fsync", "tmp/*.spans.parquet"),
        ("fsync", "tmp/*.points.parquet"),
        *[(call, path.replace("/a.", "/b.")) for call, path in publication],
    ]


def test_name_found_in_place_is_made_durable_before_it_counts_as_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(spans(1), name="a", arrived_ns=NOON)
    recorder = Recorder(store.path, monkeypatch)
    assert Store(store.path).append(spans(1), name="a") == []
    assert recorder.calls == [("fsync", f"spans/{HOUR}/")]


@pytest.mark.parametrize(
    ("code", "retryable"), [(errno.ENOSPC, True), (errno.EIO, True), (errno.EROFS, False), (errno.EACCES, False)]
)
@pytest.mark.parametrize("failing_call", range(1, 14))
def test_failed_sync_leaves_nothing_visible_and_says_whether_to_try_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, failing_call: int, code: int, retryable: bool
) -> None:
    calls = 0

    def fsync(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing_call:
            raise OSError(code, os.strerror(code))

    batch = Batch({**spans(1).tables, **points(1).tables})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(SourceError, match="cannot append") as raised:
            store.append(batch, digest="d", last=True)
    assert raised.value.retryable is retryable
    assert [store.segments(signal) for signal in ("spans", "points")] == [[], []]
    assert list((store.path / "tmp").iterdir()) == []
    assert not store.is_complete("d")
    store.append(batch, digest="d", last=True)
    assert [store.read(signal).num_rows for signal in ("spans", "points")] == [1, 1]
    assert store.is_complete("d")


def test_write_beyond_a_limit_of_the_system_leaves_nothing_visible(store: Store) -> None:
    store.append(spans(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(SourceError, match=f"cannot append: .*{os.strerror(errno.EFBIG)}"):
            store.append(spans(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert starts(store) == [1]
    assert list((store.path / "tmp").iterdir()) == []


def test_leftovers_of_killed_writers_are_not_read_and_go_after_an_hour(store: Store) -> None:
    old, young = store.path / "tmp/old.spans.parquet", store.path / "tmp/young.spans.parquet"
    for path, age_s in ((old, 3700), (young, 3500)):
        path.write_bytes(b"half a segme")
        os.utime(path, (time.time() - age_s,) * 2)
    reader = Store(store.path)
    assert (starts(reader), reader.problems) == ([], [])
    assert old.exists()
    Store(store.path).append(spans(1))
    assert (old.exists(), young.exists()) == (False, True)


def test_store_is_made_durable_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "new", monkeypatch)
    recorder._name = lambda path: os.path.relpath(path, tmp_path).split(".json")[0]  # type: ignore[method-assign]
    Store(tmp_path / "new", create=True)
    marker = "hypocenter-store"
    assert recorder.calls == [
        ("fsync", "./"),
        ("fsync", f"new/tmp/{marker}"),
        ("rename", f"new/{marker}"),
        ("fsync", "new/"),
    ]
    assert json.loads((tmp_path / "new" / f"{marker}.json").read_text())["format_version"] == 1
