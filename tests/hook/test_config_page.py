"""The how-to describes every key that a hook's file may have, in a file that is accepted as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from hypocenter.hook import config as settings
from hypocenter.hook.config import build_config
from hypocenter.hook.credentials import Strict

PAGE = (Path(__file__).parents[2] / "docs/howto/alerts.md").read_text(encoding="utf-8")
WHOLE = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[-1]
SECTIONS = {kind for kind in vars(settings).values() if isinstance(kind, type) and issubclass(kind, Strict)} - {Strict}
KEYS = sorted({(kind.__name__, key) for kind in SECTIONS for key in kind.model_fields})


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_stands_in_the_file_of_the_page(section: str, key: str) -> None:
    assert re.search(rf"(?<![\w.]){key}:", WHOLE), f"{section}.{key}"


def test_the_file_of_the_page_is_accepted() -> None:
    built = build_config(yaml.safe_load(WHOLE), "alerts.md")
    assert {type(built), *map(type, (built.limits, built.auth, built.tls, built.kubernetes))} <= SECTIONS
    named = [*built.urls, *(sink.url for sink in built.sinks if sink.url)]
    assert {urlsplit(url).hostname for url in named} <= set(built.allow_hosts)
    assert [sink.label for sink in built.sinks] == ["next", "slack", "pagerduty", "alertmanager", "log", "chat", "page"]
