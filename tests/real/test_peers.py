"""Published methods against the implementations that their authors or others publish, in an environment apart."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypocenter.analysis.baselines import micro_rank
from hypocenter.analysis.baselines.bayesian_change_point import change_points
from hypocenter.analysis.baselines.scores import largest, moments, quartiles, scaled
from hypocenter.analysis.baselines.trace_sets import TraceSets

# Their pins contradict ours, so they live apart; --no-deps since each drags in far more than these functions use.
ALONE = ["fse-baro==0.2.2", "RCAEval==1.8.1"]
NEEDED = ["numpy<2.4", "pandas<3", "scikit-learn", "scipy", "tqdm", "python-dateutil", "requests", "matplotlib"]


@pytest.fixture(scope="session")
def peer() -> Path:
    """Return the interpreter of the peers' environment, kept between runs outside the tree."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hypocenter"
    place = cache / f"peers-{hashlib.sha256(repr((ALONE, NEEDED, sys.version)).encode()).hexdigest()[:12]}"
    python = place / "bin/python"
    if not (place / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *NEEDED], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *ALONE], check=True)
        (place / "ready").touch()
    return python


def ask(peer: Path, code: str, **given: Any) -> Any:
    """Run ``code`` with the names in ``given``; it sets ``answer``."""
    program = (
        f"import json, sys, warnings\nwarnings.simplefilter('ignore')\nglobals().update(json.load(sys.stdin))\n{code}"
    )
    program += "\nprint('\\n' + json.dumps(answer))"
    done = subprocess.run([peer, "-c", program], input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def table() -> dict[str, list[float]]:
    """Twelve series of 300 steps, of very different units, five of which move after step 200."""
    rng = np.random.default_rng(11)
    columns = {f"s{i}_latency": (10.0**i) * (5 + rng.normal(0, 1 + i % 3, 300)) for i in range(-3, 9)}
    for i in range(5):
        columns[f"s{i}_latency"][200:] += (10.0**i) * (4 + 3 * i)
    return {name: column.tolist() for name, column in columns.items()}


def order(names: list[str], score: np.ndarray) -> list[str]:
    return [names[i] for i in np.argsort(-score, kind="stable")]


def test_robust_scorer_orders_as_fse_baro_does(peer: Path, table: dict[str, list[float]]) -> None:
    code = """
import pandas as pd
from baro.root_cause_analysis import robust_scorer
frame = pd.DataFrame(table | {"time": range(300)})
answer = robust_scorer(frame, inject_time=200, dataset="x")["ranks"]
"""
    theirs = ask(peer, code, table=table)
    values = np.array(list(table.values()))
    low, centre, high = quartiles(values[:, :200])
    assert order(list(table), scaled(largest(values[:, 200:]) - centre, centre, high - low)) == theirs


def test_sigmas_order_as_fse_baro_does(peer: Path, table: dict[str, list[float]]) -> None:
    code = """
import pandas as pd
from baro.root_cause_analysis import nsigma
frame = pd.DataFrame(table | {"time": range(300)})
answer = nsigma(frame, inject_time=200, dataset="x")["ranks"]
"""
    values = np.array(list(table.values()))
    mean, deviation = moments(values[:, :200])
    # Theirs is signed: a series that falls loses. Ours takes |.|, so the signed form is compared.
    assert order(list(table), scaled(largest(values[:, 200:]) - mean, mean, deviation)) == ask(peer, code, table=table)


def test_change_points_are_those_of_fse_baro(peer: Path) -> None:
    rng = np.random.default_rng(4)
    steps = {f"s{i}_latency": rng.normal(1, 0.1, 160) for i in range(3)}
    steps["s0_latency"][60:] += 2
    steps["s1_latency"][110:] += 3
    code = """
import pandas as pd
from baro.anomaly_detection import bocpd
answer = [int(x) for x in bocpd(pd.DataFrame(table))]
"""
    unit = np.array([(v - v.min()) / (v.max() - v.min()) for v in steps.values()])
    theirs = ask(peer, code, table={k: v.tolist() for k, v in steps.items()})
    # Theirs counts steps from one and closes with the end of the series.
    assert [step + 1 for step in change_points(unit.T)] == [step for step in theirs if step < 160]


def test_page_rank_of_normal_traces_is_that_of_micro_rank(peer: Path) -> None:
    rng = np.random.default_rng(8)
    counts = (rng.random((12, 6)) < 0.5).astype(float)
    counts[:, 0] = 1
    counts[5], counts[6] = counts[4], counts[4]
    calls = np.triu(rng.random((6, 6)) < 0.5, 1).astype(float)
    held = {f"t{t}": [f"o{o}" for o in range(6) if counts[t, o]] for t in range(12)}
    code = """
import importlib.util, pathlib
# By its file: the package imports every method and all that they need.
file = pathlib.Path(importlib.util.find_spec("RCAEval").origin).parent / "e2e/microrank.py"
spec = importlib.util.spec_from_file_location("microrank", file)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
weight, _ = module.trace_pagerank(calls, held, covering, held, False)
answer = {k: float(v) for k, v in weight.items()}
"""
    given = {
        "calls": {f"o{a}": [f"o{b}" for b in range(6) if calls[a, b]] for a in range(6)},
        "held": held,
        "covering": {f"o{o}": [f"t{t}" for t in range(12) if counts[t, o]] for o in range(6)},
    }
    theirs = ask(peer, code, **given)
    nothing = np.zeros(6)
    sets = TraceSets(counts, counts, np.ones(12), nothing, nothing, calls, np.array(list("abcdef")))
    ours = micro_rank._ranks(sets, np.ones(12, bool), rare=False)
    assert ours == pytest.approx([theirs[f"o{o}"] for o in range(6)], rel=1e-3)
