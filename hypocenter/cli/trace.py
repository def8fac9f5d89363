"""``hypocenter trace``: one trace as a waterfall, in the terminal or as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .answers import Output
from .places import StorePlace, write_figure
from .text import milliseconds, printable

if TYPE_CHECKING:
    import pandas as pd

_BAR_CELLS, _NAME_CELLS, _NAME_CHARACTERS = 32, 48, 200
_DEEPEST = 20
_KINDS = ("", "internal", "server", "client", "producer", "consumer")


def trace(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="The trace's id, or enough of its beginning.")],
    store: StorePlace,
    page: Annotated[Path | None, typer.Option("--html", help="Write the waterfall to this file.")] = None,
    output: Output = "text",
    limit: Annotated[int, typer.Option(min=0, help="How many spans the text and the page show; 0 is all.")] = 1000,
) -> None:
    """Print a trace as a waterfall: who called whom and when, what failed, and what the answer waited for."""
    from ..graph.one_trace import laid_out, read_trace
    from ..tracer.store.remote import store_at

    opened = store_at(store)
    spans = read_trace(opened, trace_id)
    laid = laid_out(spans)
    shown = laid if not limit else laid.head(limit)
    if page is not None:
        from ..views import Trace

        write_figure(Trace(shown).figure(), page, "waterfall")
    typer.echo(_json(laid) if output == "json" else _text(laid, shown))
    for problem in opened.problems:
        typer.echo(f"skipped: {problem}", err=True)


def _json(laid: pd.DataFrame) -> str:
    from ..graph.export import records

    spans = records(laid.drop(columns=["number", "parent", "trace_id"]))
    return json.dumps({"trace_id": _longest_id(laid), "spans": spans}, indent=2, ensure_ascii=True, allow_nan=False)


def _longest_id(laid: pd.DataFrame) -> str:
    return str(max(laid["trace_id"], key=len))


def _text(laid: pd.DataFrame, shown: pd.DataFrame) -> str:
    from ..tracer.window import to_rfc3339

    first, last = int(laid["start_ns"].min()), int((laid["start_ns"] + laid["duration_ns"]).max())
    services = laid["service"].nunique(dropna=False)
    facts = [
        f"trace {_shown(_longest_id(laid), _NAME_CELLS).rstrip()}",
        to_rfc3339(first),
        milliseconds((last - first) / 1e9),
        f"{len(laid):,} spans of {services:,} services",
        f"{int(laid['is_error'].sum()):,} errors",
    ]
    lines = [", ".join(facts), "* what the answer waited for   ✕ error", ""]
    lines += [_line(row, first, max(1, last - first)) for row in shown.itertuples(index=False)]
    if len(shown) < len(laid):
        lines.append(f"and {len(laid) - len(shown):,} more spans; --limit 0 shows them")
    return "\n".join(lines)


def _line(row: Any, first_ns: int, length_ns: int) -> str:

    begin = (row.start_ns - first_ns) * _BAR_CELLS // length_ns
    cells = max(1, round(row.duration_ns * _BAR_CELLS / length_ns))
    begin = min(begin, _BAR_CELLS - 1)
    bar = (" " * begin + "█" * min(cells, _BAR_CELLS - begin)).ljust(_BAR_CELLS)
    kind = _KINDS[row.kind] if 0 <= row.kind < len(_KINDS) else ""
    indent = "  " * min(row.depth, _DEEPEST)
    service = row.service if isinstance(row.service, str) else "(no service.name)"
    name = _shown(f"{indent}{'*' if row.is_critical else ' '}{service} {row.operation}", _NAME_CELLS)
    notes = [milliseconds(row.duration_ns / 1e9).rjust(8), kind]
    if row.is_error:
        message = f" {_shown(row.message, _NAME_CELLS).rstrip()}" if isinstance(row.message, str) else ""
        notes.append(f"✕{message}")
    if row.early_ns:
        notes.append(f"begins {milliseconds(row.early_ns / 1e9)} before its caller: clocks disagree")
    if row.is_orphan:
        notes.append("its parent was not recorded")
    return f"{name} |{bar}| {'  '.join(note for note in notes if note)}".rstrip()


def _shown(text: str, cells: int) -> str:
    """Return telemetry's text in exactly so many cells of a terminal, without what steers or reorders it."""
    from rich.cells import cell_len, set_cell_size

    # A name may be a megabyte of characters without width.
    clean = printable(text[:_NAME_CHARACTERS])
    if len(text) > _NAME_CHARACTERS or cell_len(clean) > cells:
        return f"{set_cell_size(clean, cells - 1)}…"
    return set_cell_size(clean, cells)
