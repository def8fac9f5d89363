"""The Jinja environment of every page: what comes from telemetry is made visible and escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from ..legible import visible

if TYPE_CHECKING:
    import jinja2
    import markupsafe

    from .drawing import Drawing


@cache
def environment(package: str) -> jinja2.Environment:
    """Return the environment of the templates in ``package``, and of ``page.html``, which every page extends.

    A page that runs scripts or sends forms gives ``scripts`` and a ``policy`` of its own.
    """
    import jinja2

    from .. import __version__

    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, "") for name in (package, "hypocenter.report")]),
        autoescape=True,
        # A name that a template misspells must not pass for "unknown".
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # What a template writes is made visible first, except markup of our own.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    made.globals.update(css=asset("report.css"), version=__version__, scripts=(), policy=policy())
    return made


@cache
def asset(name: str) -> str:
    """Return a style sheet or script of the pages."""
    return files("hypocenter.report").joinpath(name).read_text(encoding="utf-8")


def policy(scripts: Sequence[str] = (), forms: str = "'none'") -> str:
    """Return the Content-Security-Policy of a page that runs ``scripts``, posts to ``forms`` and fetches nothing."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    # plotly.js writes style elements and attributes; no style can leave the page, since nothing may be fetched.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        f"base-uri 'none'; form-action {forms}"
    )


def json_block(drawing: Drawing) -> markupsafe.Markup:
    """Return a figure as JSON that cannot end the script element it stands in."""
    import markupsafe

    text: str = drawing.figure.to_json()
    for character in "<>&\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return markupsafe.Markup(text)
