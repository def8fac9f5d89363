"""A million mutated files over all decoders: a result or a DecodeError, in bounded time and memory."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from mutation import Sample, read_or_refuse, try_mutations
from test_formats import sections
from test_fuzz import MAPPED, map_or_refusal

from hypocenter.errors import DecodeError
from hypocenter.tracer.detect import READERS, detect
from hypocenter.tracer.mapping import read_map
from hypocenter.tracer.source import open_source

MUTATIONS = 1_000_000
MAPPED_MUTATIONS = 20_000
# What all mutations of a reader's files may add to the peak, pools of memory included.
GROWTH_KIB = 512 << 10
_LARGEST_FIXTURE = 8 << 10


def fixtures() -> dict[str, list[Sample]]:
    """Return the small public files that are here, by the name of their reader."""
    named = os.environ.get("HYPOCENTER_SHARED_DATA")
    folder = (Path(named) if named else Path(__file__).parents[3] / "shared" / "data") / "trace_fixtures"
    found: dict[str, list[Sample]] = {}
    for path in sorted(folder.rglob("*.json")):
        if path.stat().st_size <= _LARGEST_FIXTURE:
            try:
                with open_source(path) as source:
                    found.setdefault(detect(source).NAME, []).append(Sample(path.name, path.read_bytes()))
            except DecodeError:
                continue
    return found


@pytest.mark.timeout(0)
def test_mutations_are_read_or_refused_in_bounded_memory(scaled: Callable[[int], int]) -> None:
    samples = {section.name: [Sample(section.file_name, section.content)] for section in sections()}
    public = fixtures()
    each = -(-scaled(MUTATIONS) // len(READERS))
    for reader in READERS:
        files = samples[reader.NAME] + public.get(reader.NAME, [])
        attempt = partial(read_or_refuse, reader)
        # The first ones load libraries and fill pools.
        warm = min(each, 500)
        try_mutations(reader.NAME, files, range(warm), attempt)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try_mutations(reader.NAME, files, range(warm, each), attempt)
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert growth < GROWTH_KIB, f"{reader.NAME}: the peak of memory grew by {growth:,} KiB"
    count = sum(map(len, public.values()))
    print(f"\ndecoders: {each * len(READERS):,} mutations over {len(READERS)} readers, {count} public files among them")


@pytest.mark.timeout(0)
@pytest.mark.parametrize("signal", MAPPED)
def test_mutated_tables_under_a_map_are_read_or_refused(
    signal: str, tmp_path: Path, scaled: Callable[[int], int]
) -> None:
    text, table = MAPPED[signal]
    file = tmp_path / "map.yaml"
    file.write_text(text, encoding="utf-8")
    count = scaled(MAPPED_MUTATIONS)
    name = f"mapped-{signal}"
    try_mutations(name, [Sample("table.csv", table)], range(count), partial(read_or_refuse, read_map(file)))
    try_mutations("map", [Sample("map.yaml", text.encode())], range(count), partial(map_or_refusal, file))
    print(f"\n{name}: {count:,} mutations of the table, {count:,} of the map")
