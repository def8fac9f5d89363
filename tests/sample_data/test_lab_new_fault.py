"""The recipe of CONTRIBUTING.md, followed: a kind of fault is one small file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sample_data.lab import faults

NEW_FILE = '''
"""A fault of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .fault import Fault

if TYPE_CHECKING:
    from ..lab import Lab


class Rename(Fault):
    name = "rename"
    meaning = "the table of orders has another name"
    targets = ("store-db",)
    strength = {"after_s": (1, 2)}

    def begin(self, lab: Lab) -> None:
        with lab.database() as connection:
            connection.execute("ALTER TABLE orders RENAME TO old_orders")

    def end(self, lab: Lab) -> None:
        with lab.database() as connection:
            connection.execute("ALTER TABLE old_orders RENAME TO orders")
'''


def test_one_file_adds_a_kind_that_can_be_planned_and_listed(tmp_path: Path) -> None:
    (tmp_path / "rename.py").write_text(NEW_FILE, encoding="utf-8")
    script = f"""
from sample_data.lab import faults
faults.__path__.append({str(tmp_path)!r})
faults.KINDS.update(faults._kinds())
from sample_data.lab.plan import plan
label = plan("rename", None, 3).label()
print(label["case"], label["root_causes"], 1 <= label["parameters"][0]["after_s"] <= 2)
from sample_data.lab.__main__ import app
app(["faults"])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    first, *listed = done.stdout.splitlines()
    assert first == "rename-store-db-3 ['store-db'] True"
    assert "rename               the table of orders has another name; strikes store-db" in listed
    assert "rename" not in faults.KINDS


def test_every_kind_says_what_happens_and_where() -> None:
    assert len(faults.KINDS) >= 20
    for name, kind in faults.KINDS.items():
        assert kind.name == name
        assert kind.meaning
        assert name == "none" or kind.targets
