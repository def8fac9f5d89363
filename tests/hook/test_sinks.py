"""What each receiver gets, and that text from labels and telemetry stays text."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import hooks
import pytest

from hypocenter.errors import SourceError
from hypocenter.hook.config import SinkConfig
from hypocenter.hook.escape import for_slack, redacted
from hypocenter.hook.payload import Notification, parse
from hypocenter.hook.sink import Outgoing, Sink
from hypocenter.hook.sinks import create
from hypocenter.hook.text import Enrichment, proof_of, summary_of
from hypocenter.report.escape import for_markdown

HOSTILE = "<!channel> <http://evil|x> *b* [l](http://e) {{7*7}} <script>alert(1)</script>\n# h"


def note(*alerts: dict[str, Any], **more: Any) -> Notification:
    return parse(hooks.body(*(alerts or (hooks.alert(),)), **more))


def added(**changes: Any) -> Enrichment:
    found = hooks.Workers(**changes).answer
    return Enrichment(
        "20231114-1", "first", summary_of(found), proof_of(found), found, "http://hook/incidents/20231114-1"
    )


def sink(kind: str, **more: Any) -> Sink:
    return create(SinkConfig.model_validate({"kind": kind, "url": "http://next/x"} | more))


def rendered(out: Outgoing | None) -> Any:
    assert out is not None
    return json.loads(out.body)


@pytest.fixture
def secret(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "secret").write_text("s3cret\n", encoding="utf-8")
    return {"file": str(tmp_path / "secret")}


def test_slack_says_it_in_bold_and_proves_it_in_five_lines() -> None:
    message = rendered(sink("slack").render(note(), added()))
    assert message["text"].startswith("FIRING: Errors: payment (service) is very likely the origin (87%)")
    (attachment,) = message["attachments"]
    kinds = [block["type"] for block in attachment["blocks"]]
    assert kinds == ["header", "section", "section", "context", "actions"]
    assert attachment["blocks"][1]["text"]["text"].startswith("*payment (service) is very likely the origin")
    lines = attachment["blocks"][2]["text"]["text"].splitlines()
    assert [line.split("*")[1] for line in lines] == ["Why", "Spread", "Changed", "Look at", "Or else"]
    assert [b["text"]["text"] for b in attachment["blocks"][4]["elements"]] == ["Report", "Right", "Wrong origin"]


def test_slack_gets_the_bare_alert_when_nothing_is_known() -> None:
    (attachment,) = rendered(sink("slack").render(note(), None))["attachments"]
    assert [block["type"] for block in attachment["blocks"]] == ["header", "context"]


def test_slack_reads_no_mention_link_or_format_of_telemetry_and_stays_within_its_limits() -> None:
    hostile = note(*[hooks.alert(HOSTILE, name=HOSTILE * 20, annotations={"summary": HOSTILE}) for _ in range(30)])
    message = rendered(
        sink("slack").render(hostile, added(headline=HOSTILE, steps=[["Root cause", HOSTILE, HOSTILE * 400]]))
    )
    blocks = message["attachments"][0]["blocks"]
    texts = [b["text"]["text"] for b in blocks if b["type"] == "section"]
    texts += [e["text"] for b in blocks if b["type"] == "context" for e in b["elements"]]
    assert [t for t in [*texts, message["text"]] if re.search(r"<[!@#h]|<s", t)] == []
    assert max(len(t) for t in texts) <= 3000
    assert len(blocks[0]["text"]["text"]) <= 150
    assert not re.search(r"(?<!\u200b)\*b", "".join(texts))


def test_pagerduty_opens_updates_and_resolves_one_alert_a_group(secret: dict[str, str]) -> None:
    page = sink("pagerduty", url=None, routing_key=secret)
    opened = rendered(page.render(note(hooks.alert(labels={"severity": "page"}), group="g"), added()))
    closed = rendered(page.render(note(hooks.alert(status="resolved"), group="g"), None))
    assert page.url == "https://events.pagerduty.com/v2/enqueue"
    assert (opened["event_action"], closed["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == closed["dedup_key"]
    assert opened["routing_key"] == "s3cret"
    assert {k: opened["payload"][k] for k in ("source", "severity")} == {"source": "payment", "severity": "critical"}
    assert opened["links"] == [{"href": "http://hook/incidents/20231114-1", "text": "Report of the incident"}]
    assert opened["payload"]["custom_details"]["hypocenter_origin"] == "payment"


def test_alertmanager_gets_an_alert_that_the_hook_knows_as_its_own() -> None:
    (raised,) = rendered(sink("alertmanager").render(note(), added()))
    assert raised["labels"]["alertname"] == "HypocenterOrigin"
    assert parse(hooks.body(hooks.alert(labels=raised["labels"]))).is_marked
    assert sink("alertmanager").render(note(), added(origin=None)) is None
    assert sink("alertmanager").render(note(), None) is None


def test_templates_see_everything_and_json_and_markdown_are_built_in() -> None:
    own = sink("template", template='{"text": {{ hypocenter.summary | json }}, "n": {{ alerts | length }}}')
    assert rendered(own.render(note(), added())) == {"text": added().summary, "n": 1}
    whole = rendered(sink("template", template="json").render(note(), added()))
    assert (whole["notification"]["version"], whole["hypocenter"]["incident"]) == ("4", "20231114-1")
    out = sink("template", template="markdown").render(note(hooks.alert(name=HOSTILE)), added(headline=HOSTILE))
    assert out is not None
    text = out.body.decode()
    assert "<script>" not in text
    assert "[l](" not in text
    assert "\n# h" not in text


def test_html_templates_escape_by_themselves_and_none_can_reach_the_interpreter() -> None:
    page = sink("template", template="<p>{{ title }}</p>", content_type="text/html")
    out = page.render(note(hooks.alert(name="<script>")), None)
    assert out is not None
    assert out.body == b"<p>&lt;script&gt;</p>"
    probe = sink("template", template="[{{ ''.__class__.__mro__ }}]").render(note(), None)
    assert probe is not None
    assert probe.body == b"[]"
    lacking = sink("template", template="[{{ alerts[0].annotations.nothing.here }}]").render(note(hooks.alert()), None)
    assert lacking is not None
    assert lacking.body == b"[]"
    with pytest.raises(SourceError, match="the template of sink template"):
        sink("template", template="{% if %}")


def test_a_file_gets_a_text_each(tmp_path: Path) -> None:
    sinks = [{"kind": "template", "template": "{{ title }}", "path": str(tmp_path / "log" / "alerts.txt")}]

    async def whole() -> None:
        async with hooks.hook(tmp_path, hooks.Receiver(), sinks=sinks) as hook:
            for name in ("A", "B"):
                await hook.receive(hooks.body(hooks.alert(name=name), group="g"), "alertmanager")
            await hooks.settled(hook)

    asyncio.run(whole())
    assert (tmp_path / "log" / "alerts.txt").read_text(encoding="utf-8") == "A\nB\n"


def test_requests_carry_key_token_and_signature(secret: dict[str, str]) -> None:
    signed = sink("webhook", hmac=secret, bearer=secret, headers={"X-Api-Key": secret})
    out = Outgoing(b"body")
    headers = signed.headers(out, "k1")
    expected = hmac.new(b"s3cret", headers["X-Hypocenter-Time"].encode() + b".body", hashlib.sha256).hexdigest()
    assert headers["X-Hypocenter-Signature"] == f"sha256={expected}"
    assert (headers["Idempotency-Key"], headers["Authorization"], headers["X-Api-Key"]) == (
        "k1",
        "Bearer s3cret",
        "s3cret",
    )
    basic = sink("webhook", basic={"user": "u", "password": secret}).headers(out, "k")["Authorization"]
    assert base64.b64decode(basic.split()[1]) == b"u:s3cret"


def test_no_host_is_reached_that_the_configuration_does_not_allow(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"it is given and lacks next\.example, which"):
        hooks.hook(tmp_path, hooks.Receiver(), allow_hosts=["other.example"])
    servers = {"prometheus": {"url": "http://prometheus.example"}, "otlp": "http://otlp.example:4318"}
    with pytest.raises(SourceError, match=r"lacks otlp\.example, prometheus\.example, which"):
        hooks.hook(tmp_path, hooks.Receiver(), allow_hosts=["next.example"], **servers)
    allowed = ["next.example", "otlp.example", "prometheus.example"]
    assert hooks.hook(tmp_path, hooks.Receiver(), allow_hosts=allowed, **servers)


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    receiver = hooks.Receiver(lambda _: hooks.httpx.Response(302, headers={"Location": "http://evil.example/"}))

    async def whole() -> list[str]:
        async with hooks.hook(tmp_path, receiver) as hook:
            await hook.receive(hooks.body(hooks.alert()), "alertmanager")
            await hooks.settled(hook)
            return [letter.content["reason"] for letter in hook.dead]

    assert asyncio.run(whole()) == ["HTTP 302"]
    assert [request.url.host for request in receiver.requests] == ["next.example"]


def test_addresses_in_logs_keep_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([500, 404])
    receiver = hooks.Receiver(lambda _: hooks.httpx.Response(next(answers)))

    async def whole() -> None:
        async with hooks.hook(tmp_path, receiver) as hook:
            await hook.receive(hooks.body(hooks.alert()), "alertmanager")
            await hooks.settled(hook)

    with caplog.at_level("INFO", logger="hypocenter"):
        asyncio.run(whole())
    assert "next: HTTP 500; tried again" in caplog.text
    assert "token=secret" not in "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("hypocenter"))
    assert redacted("https://u:p@h.example:8443/services/T/B?x=1") == "https://h.example:8443/…"


def test_escapes_are_whole() -> None:
    assert for_slack("a & <b>") == "a &amp; &lt;b&gt;"
    assert for_markdown("a|b\nc") == r"a\|b c"


def test_links_that_cannot_be_filled_in_are_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"link Jaeger: unknown \{trace\}"):
        hooks.config(tmp_path, links={"Jaeger": "http://jaeger/{trace}"})
