"""`hypocenter trace`: found by any form of its id, drawn in time, and harmless whatever its names hold."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from hypocenter.cli.trace import trace
from hypocenter.errors import SourceError
from hypocenter.tracer.batch import Batch
from hypocenter.tracer.schema import SPANS
from hypocenter.tracer.store import Store

START_NS = 1_700_000_000 * 10**9
MS = 10**6
LONG, SHORT = "463ac35c9f6413ad48485a3953bb6124", "48485a3953bb6124"
app = typer.Typer()
app.command()(trace)


def span(span_id: str, parent: str | None, service: str, kind: int, at_ms: float, ms: float, **more: Any) -> Any:
    row = dict.fromkeys(SPANS.names) | {"trace_id": LONG, "span_id": span_id, "parent_span_id": parent, "name": "GET"}
    row |= {"service": service, "kind": kind, "status": 0, "adjusted_milli": 1000, "source": "here"}
    return row | {"start_ns": START_NS + round(at_ms * MS), "duration_ns": round(ms * MS)} | more


SHOP = [
    span("1", None, "web", 2, 0, 100, status=2),
    span("2", "1", "web", 3, 10, 20),
    span("3", "1", "web", 3, 40, 50, status=2, status_message="504"),
    span("4", "3", "cart", 2, 38, 50, status=2),
    span("5", "gone", "ads", 2, 20, 5),
]


def store_of(tmp_path: Path, *spans: Any) -> Path:
    Store(tmp_path / "store", create=True).append(Batch({"spans": pa.Table.from_pylist(list(spans), SPANS)}))
    return tmp_path / "store"


def run(store: Path, *arguments: object) -> Result:
    result = CliRunner().invoke(app, [*map(str, arguments), "--store", str(store)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_waterfall_shows_who_called_whom_and_when(tmp_path: Path) -> None:
    lines = run(store_of(tmp_path, *SHOP), LONG).stdout.splitlines()
    assert lines[0] == f"trace {LONG}, 2023-11-14T22:13:20Z, 100 ms, 5 spans of 3 services, 3 errors"
    assert [re.sub(" +", " ", line) for line in lines[3:]] == [
        "*web GET |████████████████████████████████| 100 ms server ✕",
        " *web GET | ██████ | 20 ms client",
        " *web GET | ████████████████ | 50 ms client ✕ 504",
        " *cart GET | ████████████████ | 50 ms server ✕ begins 2 ms before its caller: clocks disagree",
        " ads GET | ██ | 5 ms server its parent was not recorded",
    ]
    bars = [line.index("█") - line.index("|") - 1 for line in lines[3:]]
    assert bars == [0, 3, 12, 12, 6]


def test_json_holds_every_span_in_the_order_of_the_tree(tmp_path: Path) -> None:
    made = json.loads(run(store_of(tmp_path, *SHOP), LONG, "-o", "json").stdout)
    assert made["trace_id"] == LONG
    assert [(s["span_id"], s["depth"], s["is_critical"], s["early_ns"]) for s in made["spans"]] == [
        ("1", 0, True, 0),
        ("2", 1, True, 0),
        ("3", 1, True, 0),
        ("4", 2, True, 2 * MS),
        ("5", 0, False, 0),
    ]


def test_what_runs_beside_or_outlives_its_parent_was_not_waited_for(tmp_path: Path) -> None:
    spans = [
        span("1", None, "web", 2, 0, 100),
        span("2", "1", "web", 3, 10, 80),
        span("3", "1", "web", 3, 20, 60),
        span("4", "1", "web", 3, 50, 500),
    ]
    made = json.loads(run(store_of(tmp_path, *spans), LONG, "-o", "json").stdout)
    # Span 4 is longer than all others, but the root does not wait for it.
    assert {s["span_id"]: s["is_critical"] for s in made["spans"]} == {"1": True, "2": True, "3": False, "4": False}


@pytest.mark.parametrize("given", [LONG, LONG[:6], SHORT, SHORT[:6], LONG.upper(), f" {SHORT} "])
@pytest.mark.parametrize("stored", [(LONG,), (SHORT,), (LONG, SHORT), ("0" * 16 + SHORT,)])
def test_forms_of_an_id_are_one_trace(tmp_path: Path, given: str, stored: tuple[str, ...]) -> None:
    other = span("9", None, "web", 2, 0, 1, trace_id="f" * 32)
    spans = [span(f"{i}", None, "web", 2, 0, 1, trace_id=each) for i, each in enumerate(stored)]
    store = store_of(tmp_path, *spans, other)
    if given == LONG[:6] and LONG not in stored:
        with pytest.raises(SourceError, match="no trace begins with"):
            run(store, given)
        return
    made = json.loads(run(store, given, "-o", "json").stdout)
    assert [s["span_id"] for s in made["spans"]] == [f"{i}" for i in range(len(stored))]


def test_ambiguous_beginning_names_the_candidates(tmp_path: Path) -> None:
    ids = [f"ab{i:030x}" for i in range(12)]
    store = store_of(tmp_path, *(span("1", None, "web", 2, 0, 1, trace_id=each) for each in ids))
    with pytest.raises(
        SourceError, match=f"12 traces match 'ab': {ids[0]}, .*{ids[9]} and 2 more; give more of the id"
    ):
        run(store, "ab")


def test_whole_id_wins_over_those_that_it_begins(tmp_path: Path) -> None:
    spans = [span("1", None, "web", 2, 0, 1, trace_id="ab"), span("2", None, "web", 2, 0, 1, trace_id="abc")]
    made = json.loads(run(store_of(tmp_path, *spans), "ab", "-o", "json").stdout)
    assert [s["span_id"] for s in made["spans"]] == ["1"]


def test_two_long_ids_with_one_low_half_stay_two_traces(tmp_path: Path) -> None:
    other = "1" * 16 + SHORT
    store = store_of(tmp_path, *SHOP, span("9", None, "web", 2, 0, 1, trace_id=other))
    with pytest.raises(SourceError, match=f"2 traces match '{SHORT}'"):
        run(store, SHORT)
    assert [s["span_id"] for s in json.loads(run(store, other, "-o", "json").stdout)["spans"]] == ["9"]


def test_shared_ids_copies_and_circles_lose_no_span(tmp_path: Path) -> None:
    spans = [
        span("1", None, "web", 3, 0, 9),
        span("1", None, "cart", 2, 1, 7),
        span("1", None, "cart", 2, 1, 7),
        span("2", "1", "cart", 3, 2, 3),
        span("7", "8", "x", 1, 3, 1),
        span("8", "7", "y", 1, 3, 1),
        span("6", "6", "z", 1, 4, 1),
    ]
    made = json.loads(run(store_of(tmp_path, *spans), LONG, "-o", "json").stdout)
    assert [(s["service"], s["depth"]) for s in made["spans"]] == [
        *(("web", 0), ("cart", 1), ("cart", 2), ("z", 0)),
        *(("x", 0), ("y", 1)),
    ]


def test_ten_thousand_levels_are_drawn_and_the_rest_is_said(tmp_path: Path) -> None:
    spans = [span(f"{i + 1}", f"{i}" if i else None, "web", 1, 0, 1) for i in range(10_000)]
    store = store_of(tmp_path, *spans)
    lines = run(store, LONG).stdout.splitlines()
    assert (len(lines), lines[-1]) == (1004, "and 9,000 more spans; --limit 0 shows them")
    assert len(run(store, LONG, "--limit", "0").stdout.splitlines()) == 10_003


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "a\r\nb\tc\0",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "\u202egnp.exe\u2066\u200f",
    "[red]markup[/red]",
    "n" * 10**6,
    "e" + "\u0301" * 10**6,
    "購物車" * 40,
    "</script><script>alert(1)</script>",
    "&lt;b&gt; %{x} ${x}",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_harmless(tmp_path: Path, name: str) -> None:
    spans = [span("1", None, name, 2, 0, 5, name=name, status=2, status_message=name), span("2", "1", "web", 2, 0, 5)]
    store = store_of(tmp_path, *spans)
    text = run(store, LONG, "--html", tmp_path / "t.html").stdout
    assert all(c.isprintable() for c in text.replace("\n", ""))
    assert len(text) < 5000
    first, second = text.splitlines()[3:5]
    assert cell_len(first.partition(" |")[0]) == cell_len(second.partition(" |")[0]) == 48
    page = (tmp_path / "t.html").read_text(encoding="utf-8")
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)
    parser.feed(page)
    assert "img" not in tags
    assert "alert(1)</script>" not in page
    made = run(store, LONG, "-o", "json").stdout
    assert json.loads(made)["spans"][0]["operation"] == name
    assert made.isascii()


@pytest.mark.parametrize("given", ["abcdef", "\x1b[2J", "' or 1=1"])
def test_unknown_id_is_one_error(tmp_path: Path, given: str) -> None:
    with pytest.raises(SourceError, match="no trace begins with") as raised:
        run(store_of(tmp_path, *SHOP), given)
    assert str(raised.value).isprintable()


def test_unknown_output_is_a_usage_error(tmp_path: Path) -> None:
    assert run(store_of(tmp_path, *SHOP), LONG, "-o", "yaml").exit_code == 2
