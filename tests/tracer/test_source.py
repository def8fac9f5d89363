"""Bytes under a name: compression undone by content, heads whole, damage told and never silent."""

import gzip
import io
import random
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hypocenter.errors import SourceError
from hypocenter.tracer.source import HEAD_BYTES, Source, decompressed, open_source, walk

TEXT = random.Random(7).randbytes(200_000)
PACKERS = {"plain": lambda b: b, "gzip": gzip.compress, "zstd": zstandard.compress}


@pytest.mark.parametrize("packing", PACKERS)
def test_head_is_whole_and_not_consumed(tmp_path: Path, packing: str) -> None:
    file = tmp_path / "x.bin"
    file.write_bytes(PACKERS[packing](TEXT))
    with open_source(file) as source:
        assert source.head() == TEXT[:HEAD_BYTES]
        assert source.stream.read() == TEXT
        assert source.damage is None


@given(st.lists(st.binary(max_size=300), max_size=4), st.sampled_from(["gzip", "zstd"]))
def test_members_and_frames_in_a_row_are_one_stream(parts: list[bytes], packing: str) -> None:
    packed = b"".join(PACKERS[packing](part) for part in parts)
    assert decompressed(io.BytesIO(packed)).read() == b"".join(parts)


@given(st.integers(0, 3000), st.sampled_from(["gzip", "zstd"]))
def test_cut_stream_gives_what_it_holds_and_tells_the_damage(cut: int, packing: str) -> None:
    whole = TEXT[:5000]
    packed = PACKERS[packing](whole)
    source = Source("x", decompressed(io.BytesIO(packed[: len(packed) - 1 - cut])))
    held = source.stream.read()
    assert whole.startswith(held)
    assert source.damage is not None


def test_garbage_after_the_magic_is_damage_not_a_crash() -> None:
    for magic in (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"):
        source = Source("x", decompressed(io.BytesIO(magic + b"\xff" * 50)))
        assert (source.stream.read(), source.damage is None) == (b"", False)


def test_empty_file_has_an_empty_head(tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.write_bytes(b"")
    with open_source(file) as source:
        assert (source.head(), source.stream.read()) == (b"", b"")


def test_bytes_of_the_file_itself_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "x.gz"
    file.write_bytes(gzip.compress(TEXT))
    heard: list[int] = []
    with open_source(file, on_bytes=heard.append) as source:
        source.stream.read()
    assert sum(heard) == file.stat().st_size


def test_standard_input_is_named_and_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = io.BufferedReader(io.BytesIO(gzip.compress(b"hello")))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(inside))
    with open_source("-") as source:
        assert (source.name, source.stream.read()) == ("stdin", b"hello")
    assert not inside.closed


def test_missing_file_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gone: No such file"), open_source(tmp_path / "gone"):
        pass


@pytest.mark.parametrize(("name", "shown"), [("a/b.json.gz", "b.json"), ("b.csv", "b.csv"), ("x.zst", "x")])
def test_file_name_is_without_compression(name: str, shown: str) -> None:
    assert Source(name, decompressed(io.BytesIO(b""))).file_name == shown


def test_folders_are_walked_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b/2.csv", "b/1.csv", "a.csv", ".git/x", "b/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = walk([tmp_path, "-", tmp_path / "gone", tmp_path / "a.csv"])
    assert found == [str(tmp_path / n) for n in ("a.csv", "b/1.csv", "b/2.csv")] + ["-", str(tmp_path / "gone")]
