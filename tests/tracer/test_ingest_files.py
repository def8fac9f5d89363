"""Files into a store: each once, the broken named, the cut completed."""

import gzip
import io
from pathlib import Path

import pytest

from hypocenter.errors import SourceError
from hypocenter.tracer import ingest as ingest_module
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.ingest import FileResult, ingest
from hypocenter.tracer.store import Segment, Store

HEADER = "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano\n"


def traces(count: int, first: int = 0) -> str:
    return HEADER + "".join(f"t{n},{n},root,web-1,GET,{n + 1},{n + 2}\n" for n in range(first, first + count))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


def outcome(result: FileResult) -> tuple[str, str | None, str, dict[str, int]]:
    return Path(result.path).name, result.format, result.outcome, dict(result.tally.accepted)


def test_folder_goes_in_and_what_is_broken_is_named(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text(traces(3), encoding="utf-8")
    (folder / "b.bin").write_bytes(b"\0\1\2")
    (folder / "c.csv").write_bytes(b"")
    (folder / "d.csv").write_text("time,web_cpu\n1700000000,0.5\n", encoding="utf-8")
    summary = ingest([folder, tmp_path / "gone"], store)
    assert [outcome(file) for file in summary.files] == [
        ("a.csv", "nezha-traces", "added", {"spans": 3}),
        ("b.bin", None, "failed", {}),
        ("c.csv", None, "failed", {}),
        ("d.csv", "wide-csv", "added", {"points": 1, "series": 1}),
        ("gone", None, "failed", {}),
    ]
    errors = [file.error or "" for file in summary.files if file.outcome == "failed"]
    assert ["none of the known formats (parquet," in errors[0], "is empty" in errors[1]] == [True, True]
    assert errors[2] == f"{tmp_path / 'gone'}: No such file or directory; check the path and its permissions"
    assert (store.read("spans").num_rows, store.read("points").num_rows) == (3, 1)


def test_the_same_bytes_add_nothing_under_any_name(tmp_path: Path, store: Store) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(traces(3), encoding="utf-8")
    paths = [tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "a.csv"]
    outcomes = [file.outcome for _ in range(2) for file in ingest(paths, store).files]
    assert outcomes == ["added", "already-there", "already-there", "already-there"]
    assert store.read("spans")["span_id"].to_pylist() == ["0", "1", "2"]


def test_file_cut_by_a_kill_is_completed_by_the_next_run(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(traces(150_000), encoding="utf-8")

    class Dying(Store):
        appended = 0

        def append(self, batch: Batch, **options: object) -> list[Segment]:  # type: ignore[override]
            if self.appended == 1:
                raise KeyboardInterrupt
            self.appended += 1
            return super().append(batch, **options)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        ingest([file], Dying(store.path))
    assert 0 < store.read("spans").num_rows < 150_000
    assert [f.outcome for _ in range(2) for f in ingest([file], store).files] == ["added", "already-there"]
    assert store.read("spans", columns=["span_id"])["span_id"].to_pylist() == [str(n) for n in range(150_000)]


def test_cut_archive_gives_its_rows_and_says_what_is_lost(tmp_path: Path, store: Store) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(traces(20_000).encode())[:-9000])
    (result,) = ingest([file], store).files
    assert result.outcome == "added"
    assert result.tally.dropped["rest of a source that broke off"] == 1
    assert 0 < result.tally.accepted["spans"] == store.read("spans").num_rows < 20_000


def test_file_that_breaks_in_its_middle_keeps_what_came_before(tmp_path: Path, store: Store) -> None:
    file = tmp_path / "a.csv"
    file.write_text(traces(200_000) + '"never closed' + traces(200_000), encoding="utf-8")
    (result,) = ingest([file], store).files
    assert (result.outcome, "not CSV" in (result.error or "")) == ("failed", True)
    assert 0 < store.read("spans").num_rows <= result.tally.accepted["spans"]


def test_standard_input_is_a_file_like_any_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def give() -> None:
        inside = io.BufferedReader(io.BytesIO(gzip.compress(traces(2).encode())))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(inside))

    give()
    assert [outcome(f) for f in ingest(["-"], store).files] == [("stdin", "nezha-traces", "added", {"spans": 2})]
    give()
    assert [f.outcome for f in ingest(["-"], store).files] == ["already-there"]
    give()
    monkeypatch.setattr(ingest_module, "STDIN_LIMIT_BYTES", 10)
    with pytest.raises(SourceError, match="write it to a file"):
        ingest(["-"], store)


def test_progress_ends_at_the_size_of_the_files(tmp_path: Path, store: Store) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "b.csv.gz", tmp_path / "c.csv"]
    paths[2].write_text(traces(3), encoding="utf-8")
    paths[0].write_text(traces(3), encoding="utf-8")
    paths[1].write_bytes(gzip.compress(traces(3, 9).encode()))
    heard: list[int] = []
    ingest(paths, store, heard.append)
    assert sum(heard) == sum(path.stat().st_size for path in paths)


def test_graph_and_label_of_a_recording_are_named_not_stored(tmp_path: Path, store: Store) -> None:
    (tmp_path / "graph.csv").write_text(",A,B\nA,0,1\nB,1,0\n", encoding="utf-8")
    (tmp_path / "deps.json").write_text('[{"parent": "a", "child": "b", "callCount": 3}]', encoding="utf-8")
    (tmp_path / "inject_time.txt").write_text("1700000000", encoding="utf-8")
    files = ingest([tmp_path / n for n in ("graph.csv", "deps.json", "inject_time.txt")], store).files
    assert [(f.format, dict(f.tally.dropped)) for f in files] == [
        ("dependency-graph", {"edge of a graph without times, not stored": 2}),
        ("dependency-graph", {"edge of a graph without times, not stored": 1}),
        ("rcaeval-label", {"label of a recording, never stored": 1}),
    ]
    assert store.bounds() is None


def test_a_store_inside_the_folder_is_not_read_into_itself(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.csv").write_text(traces(2), encoding="utf-8")
    found = [[Path(file.path).name for file in ingest([tmp_path], store).files] for _ in range(2)]
    assert (found, store.read("spans").num_rows) == ([["a.csv"], ["a.csv"]], 2)
