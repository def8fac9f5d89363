"""A hook behind mutual TLS and a token: strangers are kept out, and who is known is heard."""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "hook"), str(TESTS / "real")]

import certificates  # noqa: E402
import hook_chain as chain  # noqa: E402
import hooks  # noqa: E402


def test_who_shows_no_certificate_or_no_credentials_is_not_heard(program: Callable[..., str], tmp_path: Path) -> None:
    folder = certificates.make(tmp_path, program("openssl"))
    (tmp_path / "password").write_text("pass", encoding="utf-8")
    tls = {"certificate": f"{folder}/server.pem", "key": f"{folder}/server.key", "client_ca": f"{folder}/ca.pem"}
    auth = {"basic": {"user": "alertmanager", "password": {"file": f"{tmp_path}/password"}}}
    address = f"localhost:{chain.free_port()}"
    stranger = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    known = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    known.load_cert_chain(f"{folder}/client.pem", f"{folder}/client.key")
    with chain.Listener() as receiver:
        config = {"listen": address, "state": str(tmp_path / "state"), "tls": tls, "auth": auth}
        config["sinks"] = [{"kind": "webhook", "url": receiver.url}]
        (tmp_path / "hook.yaml").write_text(json.dumps(config), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("hypocenter")), "hook", "--config", str(tmp_path / "hook.yaml")]
        url = f"https://{address}"
        with chain.process(command, tmp_path / "log"), httpx.Client(verify=known, timeout=30) as client:
            chain.wait_for(lambda: client.get(f"{url}/healthz").is_success, "the hook")
            with httpx.Client(verify=stranger, timeout=30) as other, pytest.raises(httpx.TransportError):
                other.post(f"{url}/alertmanager", content=hooks.body(hooks.alert("stranger")))
            with pytest.raises(httpx.TransportError):
                httpx.post(f"http://{address}/alertmanager", content=hooks.body(hooks.alert("plain")), timeout=30)
            posts = [(None, "nobody"), (("alertmanager", "wrong"), "wrong"), (("alertmanager", "pass"), "known")]
            codes = [
                client.post(f"{url}/alertmanager", content=hooks.body(hooks.alert(service)), auth=auth).status_code
                for auth, service in posts
            ]
            chain.wait_for(lambda: receiver.got, "the notification")
    assert codes == [401, 401, 200]
    assert [got["alerts"][0]["labels"]["service"] for got in receiver.bodies] == ["known"]
