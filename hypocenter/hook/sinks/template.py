"""Anything else: a Jinja template's text to an address, a file or standard output; Markdown and JSON are built in."""

from __future__ import annotations

from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hypocenter.errors import SourceError

from ...legible import visible
from ...report.escape import for_markdown
from ..config import SinkConfig
from ..escape import for_slack
from ..payload import Notification
from ..sink import Outgoing, Sink
from ..text import Enrichment
from .webhook import to_annotations

MARKDOWN = """\
## {{ (status ~ ": " ~ title) | markdown }}

{% if hypocenter %}**{{ hypocenter.summary | markdown }}**

{% for label, text in hypocenter.lines %}- **{{ label }}**: {{ text | markdown }}
{% endfor %}{% if hypocenter.url %}
[Report]({{ hypocenter.url }})
{% endif %}
{% endif %}{% for alert in alerts %}- {{ alert.name | markdown }}{% if alert.annotations.summary %}: \
{{ alert.annotations.summary | markdown }}{% endif %}

{% endfor %}"""
JSON = """{{ {"notification": notification, "hypocenter": hypocenter and hypocenter.to_dict()} | json }}\n"""
_BUILT_IN = {"markdown": (MARKDOWN, "text/markdown; charset=utf-8"), "json": (JSON, "application/json")}


class Template(Sink):
    """``template`` is ``markdown``, ``json`` or a text of your own; HTML is escaped where ``content_type`` says HTML.

    A template sees ``title``, ``status``, ``alerts``, ``notification`` (as it came), ``hypocenter`` (what was added, or
    none), ``annotations`` and ``key``; the filters ``json``, ``markdown`` and ``slack`` escape.
    """

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        text = config.template or "json"
        if config.template_file is not None:
            try:
                text = config.template_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                key = config.key("template_file")
                raise SourceError(f"{key}: {config.template_file} cannot be read: {reason}") from error
        text, self._content_type = _BUILT_IN.get(text, (text, config.content_type))
        is_html = "html" in self._content_type
        # An annotation that this alert lacks is empty: it must not hold the page up.
        environment = ImmutableSandboxedEnvironment(
            autoescape=is_html, undefined=jinja2.ChainableUndefined, trim_blocks=True, keep_trailing_newline=True
        )
        environment.filters.update(json=_json, markdown=for_markdown, slack=for_slack, visible=visible)
        try:
            self._template = environment.from_string(text)
        except jinja2.TemplateError as error:
            raise SourceError(f"the template of sink {self.name}: {error}") from error

    def render(self, note: Notification, added: Enrichment | None) -> Outgoing:
        """Return the template's text; jinja2.TemplateError when it breaks on this notification."""
        text = self._template.render(
            title=note.title or "alert",
            status=note.status,
            alerts=note.alerts,
            notification=note.raw,
            hypocenter=added,
            annotations=to_annotations(added) if added else {},
            key=note.key,
        )
        return Outgoing(text.encode(), self._content_type)


def _json(value: Any) -> Any:
    import json

    import markupsafe

    # As JSON may write it, and so that it cannot end a script element either.
    return markupsafe.Markup(json.dumps(value, ensure_ascii=False, default=str).replace("<", "\\u003c"))
