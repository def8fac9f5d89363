"""The page of formats: each reader has a section whose example it recognises and reads as the page says."""

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from hypocenter.tracer.batch import concat
from hypocenter.tracer.detect import READERS, decode, detect
from hypocenter.tracer.source import Source, decompressed

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Section:
    name: str
    content: bytes
    file_name: str
    yields: str


def sections() -> list[Section]:
    found = []
    for part in PAGE.split("\n## ")[1:]:
        name = part.split("\n", 1)[0]
        for fence in re.finditer(r"```(\w+) ?(\S*)\n(.*?)```\n\nYields (.*?)\.\n", part, re.DOTALL):
            language, file_name, text, yields = fence.groups()
            content = base64.b64decode(text) if language == "base64" else text.encode()
            found.append(Section(name, content, file_name or "example", yields))
    return found


def test_every_reader_has_a_section_and_no_section_is_left_over() -> None:
    assert sorted({section.name for section in sections()}) == sorted(reader.NAME for reader in READERS)


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.name)
def test_example_is_recognised_and_yields_what_the_page_says(section: Section) -> None:
    source = Source(section.file_name, decompressed(io.BytesIO(section.content)))
    reader = detect(source)
    batch = concat(decode(source, reader))
    signals = ("spans", "series", "points", "logs", "events", "objects")
    rows = [f"{batch.tables[s].num_rows} {s}" for s in signals if batch.table(s).num_rows]
    assert (reader.NAME, ", ".join(rows) or "nothing") == (section.name, section.yields)
