"""Child calls that an operation usually makes and now does not, or the reverse: code faults without latency."""

from __future__ import annotations

import pandas as pd

from .bayes import log_bayes_factor, log_mean_exp
from .finding import Finding, Windows

_MIN_SPANS = 50


def weigh(windows: Windows) -> Finding:
    """Return, per service, the Bayes factor that the presence of child operations changed (log-mean-exp over tests)."""
    baseline = windows.quiet if len(windows.quiet) >= _MIN_SPANS else windows.before
    if len(baseline) < _MIN_SPANS or len(windows.after) < _MIN_SPANS:
        return Finding("structure", not_checked="too few spans in the baseline or the incident window")
    tests = presence(*_counts(baseline), *_counts(windows.after))
    return best_by_service(
        "structure", tests, "{operation} calls {item}: {before:.0%} of visits before, {after:.0%} now"
    )


def _counts(visits: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    totals = visits.groupby(["service", "operation"]).size()
    children = visits[visits.has_parent].drop_duplicates(["trace_id", "parent_span_id", "operation"])
    hits = children.groupby(["parent_service", "parent_operation", "operation"]).size()
    hits.index.names = ["service", "operation", "item"]
    return totals, hits


def presence(totals_a: pd.Series, hits_a: pd.Series, totals_b: pd.Series, hits_b: pd.Series) -> pd.DataFrame:
    """Return a frame of tests (service, operation, item, before, after, nats) for operations seen on both sides."""
    tests = pd.DataFrame({"a": hits_a, "b": hits_b}).fillna(0.0).reset_index()
    visits = pd.MultiIndex.from_frame(tests[["service", "operation"]])
    tests["n_a"] = totals_a.reindex(visits).fillna(0).to_numpy(dtype=float)
    tests["n_b"] = totals_b.reindex(visits).fillna(0).to_numpy(dtype=float)
    tests = tests[(tests.n_a > 0) & (tests.n_b > 0)].copy()
    tests["a"], tests["b"] = tests[["a", "n_a"]].min(axis=1), tests[["b", "n_b"]].min(axis=1)
    if tests.empty:
        return tests.assign(nats=[], before=[], after=[])
    columns = [tests[name].to_numpy(dtype=float) for name in ("a", "n_a", "b", "n_b")]
    return tests.assign(nats=log_bayes_factor(*columns), before=tests.a / tests.n_a, after=tests.b / tests.n_b)


def best_by_service(kind: str, tests: pd.DataFrame, text: str) -> Finding:
    """Return the finding of a family of tests: its score pays for multiplicity, its text is that of the best test."""
    score, words, entity = {}, {}, {}
    for service, family in tests.groupby("service"):
        value = log_mean_exp(family.nats.to_numpy(dtype=float))
        if value > 0:
            best = family.loc[family.nats.idxmax()]
            score[str(service)] = value
            words[str(service)] = text.format(**{str(key): item for key, item in best.items()})
            entity[str(service)] = (str(service), "service")
    return Finding(kind, score, words, entity)
