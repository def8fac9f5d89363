"""How a command answers: for people or for programs, and with an exit code of its own for a finding."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

Output: TypeAlias = Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="For people or programs.")]

# With --exit-code; 1 is an error and 2 a wrong use.
FOUND = 3
