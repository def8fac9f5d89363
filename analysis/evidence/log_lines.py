"""Log lines that a visit of an operation usually writes: missing, replaced or new ones mark code faults.

Templates per visit with a Bayes factor, not keywords: an error line blames the innocent caller.
"""

from __future__ import annotations

import re

import pandas as pd

from .finding import Finding, Windows
from .structure import best_by_service, presence

_IDS = re.compile(r"(?:trace|span)[ _-]?id[:=]\s*\S+", re.IGNORECASE)
_PLACE = re.compile(r"[\w.]+#\d+")
_PARAMETERS = re.compile(r"\[[^\[\]]*[:：=][^\[\]]*\]|\([^()]*\)|\{[^{}]*\}|\"[^\"]*\"")
_NUMBERS = re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{20,}\b|\b[0-9a-f]{16,}\b|0x[0-9a-f]+|\d+(?:[.:,]\d+)*")
_WORDS = re.compile(r"[A-Za-z_]{2,}")
_WORDS_KEPT = 12
_MIN_LOGS = 20


def template(body: str) -> str:
    """Return the constant part of a log line: its code place, if it names one, and its first words.

    >>> template("16:42:22.1 INFO c.Cart#53 TraceID: ab SpanID: cd [get][cart id: 17]")
    'c.Cart#53 INFO Cart get'
    """
    text = _IDS.sub(" ", body)
    found = _PLACE.search(text)
    place = found.group() if found else ""
    text = _PARAMETERS.sub(" ", _NUMBERS.sub(" ", text))
    return " ".join([*([place] if place else []), *_WORDS.findall(text)[:_WORDS_KEPT]])


def _hits(visits: pd.DataFrame, logs: pd.DataFrame) -> pd.Series:
    unique = pd.Series(logs.body.unique(), dtype=object)
    names = dict(zip(unique, unique.map(template), strict=True))
    lines = logs.assign(item=logs.body.map(names))
    joined = lines[["trace_id", "span_id", "item"]].drop_duplicates()
    joined = joined.merge(visits[["trace_id", "span_id", "service", "operation"]], on=["trace_id", "span_id"])
    return joined.groupby(["service", "operation", "item"]).size()


def weigh(windows: Windows, quiet_logs: pd.DataFrame, before_logs: pd.DataFrame, after_logs: pd.DataFrame) -> Finding:
    """Return, per service, the Bayes factor that the presence of log templates in its visits changed."""
    if len(after_logs) < _MIN_LOGS:
        return Finding("log lines", not_checked=f"{len(after_logs)} log records joined to the incident window")
    if len(quiet_logs) >= _MIN_LOGS:
        visits, logs = windows.quiet, quiet_logs
    elif len(before_logs) >= _MIN_LOGS:
        visits, logs = windows.before, before_logs
    else:
        return Finding("log lines", not_checked="no baseline logs to compare with")
    by = ["service", "operation"]
    tests = presence(
        visits.groupby(by).size(),
        _hits(visits, logs),
        windows.after.groupby(by).size(),
        _hits(windows.after, after_logs),
    )
    return best_by_service(
        "log lines", tests, "{operation} writes “{item}”: {before:.0%} of visits before, {after:.0%} now"
    )
