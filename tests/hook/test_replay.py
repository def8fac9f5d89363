"""``hypocenter hook replay``: dead letters are sent again in order, signed anew, with the key that they had."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any

import hooks
import httpx
import pytest
from typer.testing import CliRunner, Result

sys.path[:0] = [str(Path(__file__).parents[1] / "real")]

import hook_chain as chain  # noqa: E402

from hypocenter.cli.main import app  # noqa: E402
from hypocenter.hook.dead import DeadLetters  # noqa: E402


class Refusing:
    """Refuses the alerts it is told to, as a receiver does that is misconfigured."""

    def __init__(self) -> None:
        self.refused: set[str] = set()

    def __call__(self, _path: str, _headers: dict[str, str], body: bytes) -> int:
        return 400 if json.loads(body)["alerts"][0]["labels"]["alertname"] in self.refused else 200


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "secret").write_text("s3cret", encoding="utf-8")
    hmac_of = {"hmac": {"file": str(tmp_path / "secret")}}
    sinks = [{"kind": "webhook", "name": name, "url": "http://next.example"} | hmac_of for name in ("a", "b")]
    return {"state": str(tmp_path / "state"), "sinks": sinks}


def lose(folder: Path, settings: dict[str, Any], *names: str) -> list[str]:
    """Let the hook give up alerts of these names, to both sinks; return their keys."""
    receiver = hooks.Receiver(lambda _: httpx.Response(422))

    async def whole() -> None:
        async with hooks.hook(folder, receiver, **settings) as hook:
            await hooks.learnt(hook)
            for name in names:
                await hook.receive(hooks.body(hooks.alert(name=name)), "alertmanager")
                await hooks.settled(hook)

    asyncio.run(whole())
    return list(dict.fromkeys(request.headers["Idempotency-Key"] for request in receiver.requests))


def replay(folder: Path, settings: dict[str, Any], url: str, *options: str) -> Result:
    sinks = [sink | {"url": url} for sink in settings["sinks"]]
    (folder / "hook.yaml").write_text(json.dumps(settings | {"sinks": sinks}), encoding="utf-8")
    return CliRunner().invoke(app, ["hook", "replay", "--config", str(folder / "hook.yaml"), *options])


def test_letters_are_delivered_in_order_with_their_key_and_leave_the_folder(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    keys = lose(tmp_path, settings, "A0", "A1")
    letters = DeadLetters(tmp_path / "state" / "dead")
    assert [(letter.sink, letter.content["reason"]) for letter in letters] == [
        ("a", "HTTP 422"),
        ("b", "HTTP 422"),
    ] * 2
    with chain.Listener() as receiver:
        dry = replay(tmp_path, settings, receiver.url, "--dry-run")
        assert (dry.exit_code, len(dry.stdout.splitlines()), receiver.got, letters.count()) == (0, 4, [], 4)
        done = replay(tmp_path, settings, receiver.url, "--sink", "a")
    assert (done.exit_code, done.stdout.count("delivered"), letters.count()) == (0, 2, 2)
    assert [headers["idempotency-key"] for _, headers, _ in receiver.got] == keys
    # What was added to the alert is kept with the letter.
    assert "hypocenter_summary" in receiver.bodies[0]["commonAnnotations"]
    for _, headers, body in receiver.got:
        signed = hmac.new(b"s3cret", headers["x-hypocenter-time"].encode() + b"." + body, hashlib.sha256).hexdigest()
        assert headers["x-hypocenter-signature"] == f"sha256={signed}"


def test_a_letter_that_is_refused_again_holds_back_the_later_ones_of_its_sink(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    settings = settings | {"sinks": settings["sinks"][:1]}
    lose(tmp_path, settings, "A0", "A1")
    refusing = Refusing()
    with chain.Listener(refusing) as receiver:
        refusing.refused = {"A0"}
        failed = replay(tmp_path, settings, receiver.url)
        assert (failed.exit_code, failed.stdout, len(receiver.got)) == (1, "", 1)
        assert "HTTP 400" in failed.stderr
        refusing.refused = set()
        assert replay(tmp_path, settings, receiver.url).exit_code == 0
    assert [b["alerts"][0]["labels"]["alertname"] for b in receiver.bodies] == ["A0", "A0", "A1"]
    assert DeadLetters(tmp_path / "state" / "dead").count() == 0
