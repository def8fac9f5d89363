"""What arrives is understood as far as it goes, and never lost for a key that is odd."""

from __future__ import annotations

import json

import hooks
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypocenter.errors import DecodeError
from hypocenter.hook.payload import parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["alerts", "status", "groupKey", "truncatedAlerts", "commonAnnotations", "groupLabels", "x"])


def test_a_webhook_of_alertmanager_is_read_whole() -> None:
    note = parse(hooks.body(hooks.alert(), hooks.alert("cart", status="resolved"), truncatedAlerts=2, routeLabels={}))
    assert (note.status, note.truncated, note.title, len(note.firing)) == ("firing", 2, "Errors", 1)
    first, second = note.alerts
    assert (first.starts_ns, first.ends_ns, first.fingerprint) == (hooks.ALERT_NS, None, "Errors-web")
    assert second.ends_ns == hooks.ALERT_NS + 420 * 10**9


def test_a_webhook_of_grafana_has_the_same_shape_and_more() -> None:
    grafana = hooks.webhook(hooks.alert(values={"B": 44.2}, silenceURL="x"), version="1", orgId=1, state="alerting")
    note = parse(json.dumps(grafana).encode(), "grafana")
    assert (note.alerts[0].name, note.raw["orgId"]) == ("Errors", 1)


def test_key_is_the_same_for_a_redelivery_and_another_for_another_state() -> None:
    firing, again = parse(hooks.body(hooks.alert())), parse(hooks.body(hooks.alert(), externalURL="http://peer"))
    resolved = parse(hooks.body(hooks.alert(status="resolved"), group=firing.group_key))
    assert firing.key == again.key
    assert firing.key != resolved.key


def test_what_hypocenter_wrote_is_known_by_its_mark() -> None:
    marked = hooks.alert(labels={"hypocenter_incident": "1"})
    assert [parse(hooks.body(a)).is_marked for a in (hooks.alert(), marked)] == [False, True]


@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_json_object_is_a_notification(content: dict[str, object]) -> None:
    note = parse(json.dumps(content).encode())
    assert note.raw == json.loads(json.dumps(content))
    assert isinstance(note.key + note.title + note.group_key + note.status, str)


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(DecodeError, match="expected a JSON object of webhook version 4"):
        parse(text)
