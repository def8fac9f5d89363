"""Where it hurts, when nobody says: the entry operation that turned slow, failing or silent, and since when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import pyarrow as pa

from ..graph import histogram
from ..graph.rollup import STEP_NS, Rollups, cut
from ..tracer.window import MINUTE_NS, Window

_SERVER, _CONSUMER = 2, 5
_Text = Callable[[dict[str, np.ndarray], tuple[int, int]], str]
_SHORTEST_NS = 5 * MINUTE_NS  # of what is searched beside an incident
_MOST_STEPS = 240  # longer windows are searched in coarser steps
_FEWEST_CALLS = 5  # inside a stretch; twice as many outside
# Of one stretch, far above what thousands of stretches reach by chance; durations are correlated and heavy-tailed.
_LEAST_SIGMAS = {"latency": 10.0, "errors": 5.5, "traffic": 8.0}
_LEAST_SLOWER = 0.25  # of mean log duration: a factor of 1.28
_LEAST_ERRORS = 0.02  # of all calls, more than outside
_LEAST_SILENCE = 0.8  # of the usual rate, missing


@dataclass(frozen=True, slots=True)
class Felt:
    """A stretch of time in which an entry operation was worse than in the rest of the window.

    ``signal`` is latency, errors or traffic; ``sigmas`` how far beyond noise, higher is clearer.
    """

    service: str
    operation: str
    signal: str
    window: Window
    sigmas: float
    text: str


def find_symptom(rollups: Rollups, window: Window) -> Felt | None:
    """Return the clearest stretch of ``window`` in which an entry operation was worse, None when none is clear.

    Entries are the services that are called from outside (`external`), or any service where nothing is. Every stretch
    of steps is compared with the rest of the window, so an incident that is over is found as well; what fills more than
    the rest cannot be told from normal unless the rest was better.

    Notes
    -----
    Cost: the square of at most 240 steps, by entry operation; independent of traffic.
    """
    entries = _entries(rollups)
    table = rollups.operations.to_pandas()
    table = table[table.service.isin(entries) & table.kind.isin((_SERVER, _CONSUMER))]
    if table.empty:
        return None
    steps = -(-window.duration_ns // STEP_NS)
    width = -(-steps // _MOST_STEPS)
    n = -(-steps // width)
    found: list[Felt] = []
    for (service, operation), rows in table.groupby(["service", "operation"], sort=True):
        column = ((rows.time_ns.to_numpy() - window.start_ns) // (STEP_NS * width)).clip(0, n - 1)
        sums = _sums(rows, column, n)
        if sums["calls"][-1] < 2 * _FEWEST_CALLS:  # no stretch leaves enough outside
            continue
        failing = [_failing(sums)] if sums["errors"][-1] else []
        for signal, sigmas, text in (_slower(sums), *failing, _silent(sums)):
            row, end = divmod(int(np.argmax(sigmas)), sigmas.shape[1])
            at = (row, end)
            if sigmas[at] >= _LEAST_SIGMAS[signal]:
                start = window.start_ns + at[0] * width * STEP_NS
                stretch = Window(start, window.start_ns + at[1] * width * STEP_NS)
                said = f"{operation} of {service} {text(sums, at)}"
                found.append(Felt(str(service), str(operation), signal, stretch, float(sigmas[at]), said))
    return max(found, key=lambda f: (f.sigmas / _LEAST_SIGMAS[f.signal], f.service, f.operation), default=None)


def find_symptoms(rollups: Rollups, window: Window) -> list[Felt]:
    """Return all stretches of ``window`` in which an entry operation was worse, apart in time, in order.

    The clearest is found first, then what hurts before and after it, each compared with what is left of the window.
    """
    felt = find_symptom(Rollups(*(cut(getattr(rollups, field.name), window) for field in fields(rollups))), window)
    if felt is None:
        return []
    found = [felt]
    for start_ns, end_ns in ((window.start_ns, felt.window.start_ns), (felt.window.end_ns, window.end_ns)):
        if end_ns - start_ns >= _SHORTEST_NS:
            found += find_symptoms(rollups, Window(start_ns, end_ns))
    return sorted(found, key=lambda f: (f.window, f.service, f.operation))


def _entries(rollups: Rollups) -> set[str]:
    edges = rollups.edges.select(["caller", "callee"]).to_pandas()
    return set(edges.callee[edges.caller == "external"]) or set(rollups.operations["service"].to_pylist())


def _sums(rows: pd.DataFrame, column: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """Return, shape (n + 1,), running sums of calls, errors, log durations and their squares."""
    bins = pa.array(rows.duration.tolist(), histogram.TYPE)
    flat = bins.flatten()
    owner = np.repeat(column, [len(b) for b in rows.duration])
    count = flat.field("count").to_numpy()
    logs = np.log(np.maximum(histogram.middle(flat.field("bucket").to_numpy().astype("i8")), 1.0))
    weights = {"calls": count, "log": count * logs, "square": count * logs**2}
    steps = {key: np.bincount(owner, weight, n) for key, weight in weights.items()}
    steps["errors"] = np.bincount(column, rows.errors.to_numpy(), n)
    return {key: np.concatenate([[0.0], np.cumsum(step)]) for key, step in steps.items()}


def _sides(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sums inside and outside of each stretch [i, j), shape (n + 1, n + 1); i >= j is nonsense."""
    inside = sums[None, :] - sums[:, None]
    return inside, sums[-1] - inside


def _enough(sums: dict[str, np.ndarray]) -> np.ndarray:
    inside, outside = _sides(sums["calls"])
    return (inside >= _FEWEST_CALLS) & (outside >= 2 * _FEWEST_CALLS)


def _slower(sums: dict[str, np.ndarray]) -> tuple[str, np.ndarray, _Text]:
    n_in, n_out = (np.maximum(side, 1.0) for side in _sides(sums["calls"]))
    change = np.zeros_like(n_in)
    error = np.zeros_like(n_in)
    for sign, n, log, square in zip((1, -1), (n_in, n_out), _sides(sums["log"]), _sides(sums["square"]), strict=True):
        mean = log / n
        change += sign * mean
        error += (np.maximum(square / n - mean**2, 0.0) + 0.01) / n
    bad_in, bad_out = _sides(sums["errors"])
    # Where calls fail at once, the time in which they still worked only looks slow.
    fails_more = bad_out / n_out - bad_in / n_in >= _LEAST_ERRORS
    clear = _enough(sums) & (change >= _LEAST_SLOWER) & ~fails_more

    def text(sums: dict[str, np.ndarray], at: tuple[int, int]) -> str:
        inside, outside = (
            np.exp(log[at] / max(calls[at], 1.0)) / 1e6
            for log, calls in zip(_sides(sums["log"]), _sides(sums["calls"]), strict=True)
        )
        return f"took {inside:,.3g} ms, {outside:,.3g} ms otherwise (geometric means)"

    return "latency", np.where(clear, change / np.sqrt(error), 0.0), text


def _failing(sums: dict[str, np.ndarray]) -> tuple[str, np.ndarray, _Text]:
    (n_in, n_out), (bad_in, bad_out) = _sides(sums["calls"]), _sides(sums["errors"])
    n_in, n_out = np.maximum(n_in, 1.0), np.maximum(n_out, 1.0)
    change = bad_in / n_in - bad_out / n_out
    # The signed root of the likelihood ratio of two error shares over one.
    gain = _log_likelihood(bad_in, n_in) + _log_likelihood(bad_out, n_out)
    gain -= _log_likelihood(bad_in + bad_out, n_in + n_out)
    sigmas = np.sqrt(np.maximum(2 * gain, 0.0))
    clear = _enough(sums) & (change >= _LEAST_ERRORS)

    def text(sums: dict[str, np.ndarray], at: tuple[int, int]) -> str:
        inside, outside = (
            bad[at] / max(calls[at], 1.0)
            for bad, calls in zip(_sides(sums["errors"]), _sides(sums["calls"]), strict=True)
        )
        return f"failed in {inside:.1%} of calls, {outside:.1%} otherwise"

    return "errors", np.where(clear, sigmas, 0.0), text


def _log_likelihood(bad: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return that of the share ``bad / n`` itself, in nats."""
    share = np.clip(bad / n, 1e-12, 1 - 1e-12)
    return np.asarray(bad * np.log(share) + (n - bad) * np.log1p(-share))


def _silent(sums: dict[str, np.ndarray]) -> tuple[str, np.ndarray, _Text]:
    inside, outside = _sides(sums["calls"])
    n = len(sums["calls"])
    steps = np.maximum(np.arange(n)[None, :] - np.arange(n)[:, None], 0.0)
    usual = outside / np.maximum(n - 1 - steps, 1.0) * steps
    missing = usual - inside
    # The last step is cut by the end of the recording.
    clear = (steps >= 2) & (outside >= 2 * _FEWEST_CALLS) & (missing >= _LEAST_SILENCE * usual) & (usual > 0)
    # Poisson, and generous: traffic comes in bursts.
    sigmas = missing / np.sqrt(np.maximum(usual, 1.0)) / 2

    def text(sums: dict[str, np.ndarray], at: tuple[int, int]) -> str:
        return f"was called {_sides(sums['calls'])[0][at]:.0f} times, {usual[at]:.0f} were usual"

    return "traffic", np.where(clear, sigmas, 0.0), text
