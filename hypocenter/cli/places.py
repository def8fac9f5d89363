"""Where a store is and where results go, as every command takes them: a path, or a URL of object storage."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HELP = "The store's folder, or s3://bucket/prefix."
StorePlace = Annotated[str, typer.Option(help=HELP)]
# What makes files come once needs a disk.
FolderPlace = Annotated[str, typer.Option("--store", help="The store's folder; made when it is absent.")]


@contextmanager
def file_at(place: str) -> Iterator[Path]:
    """Yield the path to write what belongs at ``place``; for a URL that of a file which is put there when all is well.

    Raises SourceError when the storage does not take it, or the URL is of another kind.
    """
    from ..tracer.store.places import is_remote, path_of
    from ..tracer.store.remote import answering, filesystem_of

    if not is_remote(place):
        yield path_of(place)
        return
    with tempfile.TemporaryDirectory(prefix="hypocenter-") as folder:
        path = Path(folder) / place.rpartition("/")[2]
        yield path
        storage, there = filesystem_of(place)
        with answering(place), path.open("rb") as file, storage.open_output_stream(there) as sink:
            shutil.copyfileobj(file, sink, 1 << 24)


def write_figure(figure: Figure, path: Path, what: str) -> None:
    """Write a figure as one page that asks the network for nothing, and say where ``what`` is.

    Raises SourceError when the page cannot be written.
    """
    from ..errors import SourceError

    page = figure.to_html(include_plotlyjs=True, full_html=True, config={"displaylogo": False})
    try:
        # A name may hold half of a surrogate pair.
        path.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise SourceError(f"{path}: cannot be written ({error.strerror or error})") from error
    typer.echo(f"{what}: {path}", err=True)
