"""What would keep a hook from serving is told before it serves, by key and with a remedy, and repeats no secret."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certificates
import pytest
from typer.testing import CliRunner

from hypocenter.cli.main import app
from hypocenter.errors import ConfigError, SourceError
from hypocenter.hook.hook import Hook

NEXT = {"kind": "webhook", "name": "next", "url": "http://next.example/s3cret"}


def run(folder: Path, settings: dict[str, Any] | str | bytes, *options: str) -> Any:
    """Run the command on a file of these settings."""
    text = (
        json.dumps({"state": str(folder / "state"), "sinks": [NEXT]} | settings)
        if isinstance(settings, dict)
        else settings
    )
    file = folder / "hook.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return CliRunner().invoke(app, ["hook", "--config", str(file), *options])


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, program: Callable[..., str]) -> Path:
    return certificates.make(tmp_path_factory.mktemp("tls"), program("openssl"))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "token": (
        {"auth": {"bearer": {"file": "{tmp}/absent"}}},
        r"auth\.bearer: \S+absent cannot be read: No such file or directory; write the secret there",
    ),
    "password": (
        {"auth": {"basic": {"user": "oncall", "password": {"env": "HOOK_ABSENT"}}}},
        r"auth\.basic\.password: the environment variable HOOK_ABSENT is empty; put the secret there",
    ),
    "two lines": ({"auth": {"bearer": {"file": "{tmp}/lines"}}}, r"auth\.bearer: \S+lines holds more than one line"),
    "no text": ({"auth": {"bearer": {"file": "{tmp}/bytes"}}}, r"auth\.bearer: \S+bytes is not text; write"),
    "two authorizations": (
        {"sinks": [NEXT | {"bearer": {"env": "A"}, "basic": {"user": "oncall", "password": {"env": "B"}}}]},
        "bearer and basic exclude each other",
    ),
    "listen": ({"listen": "hook.example"}, "listen: .*expected HOST:PORT such as 127.0.0.1:9095"),
    "port": ({"listen": "127.0.0.1:99999"}, "listen: .*the port at most 65535"),
    "certificate": (
        {"tls": {"certificate": "{tmp}/absent", "key": "{tls}/server.key"}},
        r"tls\.certificate: \S+absent cannot be read: No such file or directory; name a PEM file",
    ),
    "key": (
        {"tls": {"certificate": "{tls}/server.pem", "key": "{tmp}/absent"}},
        r"tls\.key: \S+absent cannot be read: No such file",
    ),
    "another key": (
        {"tls": {"certificate": "{tls}/server.pem", "key": "{tls}/client.key"}},
        r"tls\.certificate, tls\.key: \S+server.pem and \S+client.key cannot be used: KEY_VALUES_MISMATCH; give PEM",
    ),
    "no authority": (
        {"tls": {"certificate": "{tls}/server.pem", "key": "{tls}/server.key", "client_ca": "{tmp}/absent"}},
        r"tls\.client_ca: \S+absent cannot be read: No such file",
    ),
    "authority": (
        {"tls": {"certificate": "{tls}/server.pem", "key": "{tls}/server.key", "client_ca": "{tmp}/lines"}},
        r"tls\.client_ca: \S+lines cannot be used: .*; give the PEM certificate",
    ),
    "host": ({"allow_hosts": ["other.example"]}, r"allow_hosts: it is given and lacks next\.example"),
    "sink": (
        {"sinks": [NEXT | {"headers": {"X-Key": {"file": "{tmp}/absent"}}}]},
        r"sink next: headers\.X-Key: \S+absent cannot be read",
    ),
    "address": (
        {"sinks": [{"kind": "slack", "url_from": {"file": "{tmp}/word"}}]},
        "sink slack: url_from: the secret is no address: expected an address such as https://host/path",
    ),
    "template": (
        {"sinks": [{"kind": "template", "path": "-", "template_file": "{tmp}/bytes"}]},
        r"sink template: template_file: \S+bytes cannot be read: it is not UTF-8",
    ),
}


@pytest.mark.parametrize("options", [["--check"], []], ids=["check", "serve"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told_by_key_with_a_remedy(tmp_path: Path, tls: Path, wrong: str, options: list[str]) -> None:
    for name, content in {"lines": b"s3cret\ns3cret", "bytes": b"\xff\xfe", "word": b"s3cret"}.items():
        (tmp_path / name).write_bytes(content)
    settings, told = WRONG[wrong]
    text = json.dumps({"state": str(tmp_path / "state"), "sinks": [NEXT]} | settings)
    done = run(tmp_path, text.replace("{tmp}", str(tmp_path)).replace("{tls}", str(tls)), *options)
    with pytest.raises(SourceError, match=told) as error:
        raise done.exception or AssertionError(done.output)
    assert "s3cret" not in str(error.value)


def test_a_sound_configuration_passes(tmp_path: Path, tls: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n", encoding="utf-8")
    files = {"certificate": str(tls / "server.pem"), "key": str(tls / "server.key"), "client_ca": str(tls / "ca.pem")}
    auth = {"bearer": {"file": str(tmp_path / "token")}}
    done = run(tmp_path, {"tls": files, "auth": auth, "allow_hosts": ["next.example"]}, "--check")
    assert (done.exit_code, done.output) == (0, "1 sinks, listening on 127.0.0.1:9095\n")
    assert not (tmp_path / "state").exists()


def test_an_address_that_is_taken_is_told_as_such_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert str(run(tmp_path, {"listen": listen}).exception) == (
            f"listen: cannot listen on {listen}; is the address taken, and is it one of this machine?"
        )

    async def broken(_self: Hook) -> Hook:
        raise RuntimeError("no memory")

    monkeypatch.setattr(Hook, "__aenter__", broken)
    assert str(run(tmp_path, {}).exception) == "the hook could not start; the lines above tell why"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("sinks:\n- {kind: slack, url: https://hooks.example/s3cret\n", r"line 3, column 1: expected ',' or '}', but"),
        ("listen: a\n\turl: https://hooks.example/s3cret\n", r"line 2, column 1: found character '\\t' that cannot"),
        ("state: x\nauth: *s3cret\n", "line 2, column 7: found undefined alias$"),
        ("state: !s3cret x\n", "line 1, column 8: could not determine a constructor for the tag$"),
        ("state: !s3cret!x x\n", "line 1, column 8: found undefined tag handle$"),
        (b"state: s3cret\x00", "character 14: special characters are not allowed"),
        (b"state: s3cret\xff\n", "cannot be read: byte 14 is not UTF-8; save it as UTF-8"),
        ("state: 2026-99-99\n", "a value looks like a date and is none; put it in quotes"),
    ],
)
def test_broken_yaml_is_told_by_its_place_and_never_repeated(tmp_path: Path, content: str | bytes, told: str) -> None:
    done = run(tmp_path, content, "--check")
    with pytest.raises(ConfigError, match=told) as error:
        raise done.exception or AssertionError(done.output)
    assert str(error.value).startswith(f"{tmp_path / 'hook.yaml'}: ")
    assert "s3cret" not in str(error.value)


def test_receivers_of_the_command_line_join_those_of_the_file(tmp_path: Path) -> None:
    more = ["--check", "--forward", "http://other.example"]
    assert run(tmp_path, "", *more).output.startswith("1 sinks")
    assert run(tmp_path, "sinks:\n", *more).output.startswith("1 sinks")
    assert run(tmp_path, {}, *more).output.startswith("2 sinks")
    assert "sinks: Input should be" in str(run(tmp_path, "sinks: 3", *more).exception)
