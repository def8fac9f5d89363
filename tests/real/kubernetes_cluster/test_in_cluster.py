"""The collector as a pod runs it: no kubeconfig, only the files and variables that a cluster gives each pod."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from control_plane import ControlPlane

from hypocenter.tracer.kubernetes import read_versions
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import Window

# A pod finds its account below /run; here only this process and its children see that folder.
_AS_A_POD = (
    "account=/run/secrets/kubernetes.io/serviceaccount; mount -t tmpfs tmpfs /run && mkdir -p $account "
    '&& cp "$1" $account/token && cp "$2" $account/ca.crt && shift 2 && exec "$@"'
)


def test_a_pod_watches_the_cluster_it_runs_in_without_being_told_where_it_is(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    token, home = tmp_path / "token", tmp_path / "home"
    token.write_text(plane.collector_token(), encoding="utf-8")
    home.mkdir()
    host, port = plane.url.removeprefix("https://").split(":")
    environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    environment |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "HOME": str(home)}
    store = Store(tmp_path / "store", create=True)
    command = [sys.executable, "-c", "from hypocenter.cli.main import main; main()", "collect", "--kubernetes"]
    command += ["--store", str(store.path), "--otlp-grpc", "off", "--otlp-http", "off", "--admin", "off"]
    pod = ["unshare", "--mount", "sh", "-c", _AS_A_POD, "sh", str(token), str(plane.ca), *command]

    def seen() -> set[str]:
        rows = read_versions(store, Window(0, 2**62)).table.to_pylist()
        return {row["name"] for row in rows if row["kind"] == "Namespace"}

    with (tmp_path / "told").open("w+", encoding="utf-8") as told:
        with subprocess.Popen(pod, stderr=told, env=environment) as collector:
            try:
                plane.wait(lambda: namespace in seen(), lambda: f"the namespace; {Path(told.name).read_text()}", 60)
            finally:
                collector.send_signal(signal.SIGTERM)
        assert collector.returncode == 0, Path(told.name).read_text(encoding="utf-8")
    assert token.read_text(encoding="utf-8") not in Path(told.name).read_text(encoding="utf-8")
