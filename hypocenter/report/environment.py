"""The Jinja environment of every page: what comes from telemetry is made visible and escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from .text import visible

if TYPE_CHECKING:
    import jinja2


@cache
def environment(package: str) -> jinja2.Environment:
    """Return the environment of the templates in ``package``."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, ""),
        autoescape=True,
        # A name that a template misspells must not pass for "unknown".
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # What a template writes is made visible first, except markup of our own.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
