"""Where namespaces are not allowed the lab runs on loopback; and a kind of fault that somebody adds is recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from lab_recording import QUICK, ROOT, needs, without_namespaces
from test_lab import interfaces, wait_for_load

from sample_data.lab.wiring import SERVICES

sys.path.insert(0, str(ROOT / "tests/sample_data"))
from test_lab_new_fault import NEW_FILE

pytestmark = pytest.mark.timeout(600)
# The recipe of CONTRIBUTING.md: a module in the folder of faults, here in another folder that counts as the same.
WITH_NEW_KIND = """
import sys
from sample_data.lab import faults
faults.__path__.append(sys.argv.pop(1))
faults.KINDS.update(faults._kinds())
from sample_data.lab.__main__ import app
app()
"""


def test_new_kind_is_recorded_on_loopback_and_nothing_is_left(program: Callable[..., str], tmp_path: Path) -> None:
    needs(program)
    kinds, out = tmp_path / "kinds", tmp_path / "out"
    kinds.mkdir()
    (kinds / "rename.py").write_text(NEW_FILE, encoding="utf-8")
    words = [sys.executable, "-c", WITH_NEW_KIND, str(kinds), "record", "--fault", "rename", "--out", str(out), *QUICK]
    before = interfaces()
    recorder = subprocess.Popen(without_namespaces(*words), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        family = wait_for_load(recorder)
        assert interfaces() == before
        printed, _ = recorder.communicate(timeout=300)
        _gone, left = psutil.wait_procs(family, timeout=60)
    finally:
        recorder.kill()
        recorder.wait()
    assert left == []
    label = json.loads(printed)
    assert (label["root_causes"], label["effect_visible"]) == (["store-db"], True)
    (checkout,) = (effect for effect in label["effect"] if effect["operation"] == "POST /checkout")
    assert (checkout["error_ratio_before"], checkout["error_ratio_during"] > 0.9) == (0.0, True)
    spans = pq.read_table(out / label["paths"]["traces"][0])
    assert set(spans["service"].to_pylist()) == set(SERVICES)


def test_fault_that_takes_a_network_of_its_own_is_refused_there(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sample_data.lab", "record", "--fault", "partition", "--out", str(tmp_path)]
    done = subprocess.run(without_namespaces(*words), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "partition needs namespaces for each pod; run as root with CAP_SYS_ADMIN" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []
