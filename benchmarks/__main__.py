"""``python -m benchmarks``: list the benchmarks; ``python -m benchmarks NAME``: run one and print its figures."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hypocenter.errors import HypocenterError


def descriptions() -> dict[str, str]:
    """Return the ``DESCRIPTION`` of each benchmark by name, read as text so that listing loads no library."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id="DESCRIPTION")], value=ast.Constant(value=str(text)))
                    | ast.AnnAssign(target=ast.Name(id="DESCRIPTION"), value=ast.Constant(value=str(text)))
                ):
                    found[path.stem] = text
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    known = descriptions()
    listing = "\n".join(f"  {name:<12} {text}" for name, text in known.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\n\nbenchmarks:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=known, metavar="NAME", help="without it: list the benchmarks")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    chosen, rest = parser.parse_known_args(arguments)
    if chosen.name is None:
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        print(json.dumps(known, indent=2) if chosen.output == "json" else listing)
        return 0
    run: Callable[..., dict[str, Any]] = importlib.import_module(f"benchmarks.{chosen.name}").run
    options = _options(chosen.name, run, rest)
    try:
        figures = run(**options)
    except HypocenterError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if chosen.output == "json":
        print(json.dumps({"benchmark": chosen.name, "options": options, **figures}, indent=2))
    else:
        _print(chosen.name, figures)
    return 0


def _options(name: str, run: Callable[..., Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Parse ``--option value`` by the signature of ``run``."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}")
    kinds = get_type_hints(run)
    for option in inspect.signature(run).parameters.values():
        # `int | None` is read as int.
        kind = (get_args(kinds[option.name]) or (kinds[option.name],))[0]
        required = option.default is inspect.Parameter.empty
        parser.add_argument(
            f"--{option.name.replace('_', '-')}",
            type=kind,
            required=required,
            default=None if required else option.default,
            help=kind.__name__ if required else f"{kind.__name__}, by default {option.default}",
        )
    return vars(parser.parse_args(arguments))


def _print(title: str, figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for label, value in _rows(figures):
        table.add_row(label, value)
    Console().print(table)


def _rows(figures: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return label and value of each figure; nested figures are labelled by their path."""
    if isinstance(figures, dict):
        return [row for key, value in figures.items() for row in _rows(value, f"{prefix} {key}".strip())]
    if isinstance(figures, list):
        return [row for at, value in enumerate(figures) for row in _rows(value, f"{prefix} {at}".strip())]
    return [(prefix, _shown(figures))]


def _shown(value: Any) -> str:
    match value:
        case bool() | str() | None:
            return str(value)
        case int():
            return f"{value:,}"
        case float() if abs(value) >= 1000:
            return f"{value:,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    # Unwind, so that temporary stores are removed also when a time limit ends the run.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
