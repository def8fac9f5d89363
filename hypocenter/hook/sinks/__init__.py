"""Receivers: each turns a notification and what was added to it into one request."""

from __future__ import annotations

from ..config import SinkConfig
from ..sink import Sink
from .alertmanager import Alertmanager
from .pagerduty import PagerDuty
from .slack import Slack
from .template import Template
from .webhook import Webhook

__all__ = ["create"]

_KINDS: dict[str, type[Sink]] = {
    "webhook": Webhook,
    "slack": Slack,
    "pagerduty": PagerDuty,
    "alertmanager": Alertmanager,
    "template": Template,
}


def create(config: SinkConfig) -> Sink:
    """Return the receiver of a configuration; SourceError when a secret or a template of it cannot be read."""
    return _KINDS[config.kind](config)
