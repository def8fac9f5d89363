"""Where a store is, as every command that reads one takes it."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = "The store's folder, or s3://bucket/prefix."
StorePlace = Annotated[str, typer.Option(help=HELP)]
