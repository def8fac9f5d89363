"""A real Kubernetes control plane: etcd, API server, controllers, scheduler, and kwok in place of the kubelets.

Everything listens on loopback at free ports, lives in one folder and ends with the block that started it. Pods do what
the tag of their image says (`kubelets.yaml`): `:absent` cannot be pulled, `:crash` exits, `:oom` is killed for its
memory, `:unready` fails its readiness probe; a Job's pod completes, or with `:crash` fails; any other runs.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import urllib3
import yaml
from go_peers import free_port

from sample_data.processes import Processes

_KUBELETS = Path(__file__).parent / "kubelets.yaml"
_DEPLOY = Path(__file__).parents[3] / "deploy"
_START_S = 120
ADMIN = "admin"


class ControlPlane:
    """Programs of one control plane; ``url`` and ``kubeconfig`` stay valid over a restart of the API server."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.folder = folder
        self._program = str(program)
        self._processes = Processes(folder)
        self._pids: dict[str, int] = {}
        self._port, self._etcd = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self.token = secrets.token_hex(16)
        self.kubeconfig = folder / "admin.kubeconfig"
        self.ca = folder / "certificates" / "apiserver.crt"

    def start(self) -> None:
        """Start everything and return when the controllers have made their first objects."""
        (self.folder / "tokens.csv").write_text(f"{self.token},{ADMIN},{ADMIN},system:masters\n", encoding="utf-8")
        key = self.folder / "service-accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        self._start_etcd()
        self.start_api_server()
        self.write_kubeconfig(self.kubeconfig, self.token)
        self._start_controllers(key)
        self.wait(lambda: self.kubectl("get", "serviceaccount", "default", check=False) != "", "the controllers")

    def _start_etcd(self) -> None:
        url, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{free_port()}"
        options = {
            "data-dir": self.folder / "etcd",
            "listen-client-urls": url,
            "advertise-client-urls": url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "log-level": "warn",
        }
        self._start("etcd", options, "--unsafe-no-fsync")

    def start_api_server(self) -> None:
        """Start the API server and wait until it is ready."""
        key = self.folder / "service-accounts.key"
        options = {
            "etcd-servers": f"http://127.0.0.1:{self._etcd}",
            "cert-dir": self.ca.parent,
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": self._port,
            "token-auth-file": self.folder / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-account-issuer": self.url,
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-cluster-ip-range": "10.96.0.0/16",
            # Its own address is on loopback, which no Endpoints object may hold.
            "endpoint-reconciler-type": "none",
            "event-ttl": "1h",
        }
        self._start("kube-apiserver", options)
        self.wait(self._is_ready, "the API server")

    def stop_api_server(self) -> None:
        """Stop the API server as an upgrade does; what is stored stays."""
        self._processes.stop("kube-apiserver")

    def _start_controllers(self, key: Path) -> None:
        clients = dict.fromkeys(
            ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"], self.kubeconfig
        )
        options = clients | {
            "bind-address": "127.0.0.1",
            "leader-elect": "false",
            "cert-dir": self.folder / "certificates",
        }
        of_manager = {
            "secure-port": free_port(),
            "service-account-private-key-file": key,
            "root-ca-file": self.ca,
            "horizontal-pod-autoscaler-sync-period": "5s",
            "pvclaimbinder-sync-period": "1s",
            "node-monitor-grace-period": "40s",
            "kube-api-qps": 200,
            "kube-api-burst": 400,
        }
        self._start("kube-controller-manager", options | of_manager)
        self._start("kube-scheduler", options | {"secure-port": (scheduler := free_port())})
        self._metrics = {
            "kube-apiserver": self.url,
            "etcd": f"http://127.0.0.1:{self._etcd}",
            "kube-controller-manager": f"https://127.0.0.1:{of_manager['secure-port']}",
            "kube-scheduler": f"https://127.0.0.1:{scheduler}",
        }
        self.start_kubelets("fake", "10.0.0.1/24")

    def start_kubelets(self, name: str, addresses: str) -> None:
        """Play the nodes that are annotated with this name; their pods get ``addresses``."""
        # As a kubelet does, it renews a lease: a node that does not is lost.
        options = {"kubeconfig": self.kubeconfig, "config": _KUBELETS, "node-lease-duration-seconds": 20}
        options |= {"manage-nodes-with-annotation-selector": f"kwok.x-k8s.io/node={name}", "cidr": addresses}
        self._start("kwok", options, called=f"kubelets-{name}")

    def stop_kubelets(self, name: str) -> None:
        """End what plays nodes, as power that fails does."""
        self._processes.kill(f"kubelets-{name}")

    def metrics(self) -> dict[str, bytes]:
        """Return what each component serves to Prometheus."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with urllib3.PoolManager(cert_reqs="CERT_NONE", retries=False, timeout=60) as http, warnings.catch_warnings():
            # Each has made a certificate for itself.
            warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
            found = {
                name: http.request("GET", f"{url}/metrics", headers=headers) for name, url in self._metrics.items()
            }
        assert {answer.status for answer in found.values()} == {200}
        return {name: answer.data for name, answer in found.items()}

    @contextmanager
    def slow_store(self) -> Iterator[None]:
        """Let etcd run a tenth of the time only, as on a disk that is too slow, until the block ends."""
        done = threading.Event()

        def hold() -> None:
            while not done.wait(0.1):
                os.kill(self._pids["etcd"], signal.SIGSTOP)
                done.wait(0.9)
                os.kill(self._pids["etcd"], signal.SIGCONT)

        holding = threading.Thread(target=hold)
        holding.start()
        try:
            yield
        finally:
            done.set()
            holding.join()

    def _start(self, name: str, options: dict[str, Any], *more: str, called: str | None = None) -> None:
        arguments = [f"--{option}={value}" for option, value in options.items()]
        # kwok and kubectl look for settings below the home folder.
        home = {"HOME": str(self.folder), "KUBECONFIG": str(self.kubeconfig)}
        self._pids[name] = self._processes.start(called or name, [self._program, name, *arguments, *more], env=home)

    def stop(self) -> None:
        """End every program."""
        self._processes.stop_all()

    def kubectl(self, *arguments: str, stdin: Any = None, check: bool = True, kubeconfig: Path | None = None) -> str:
        """Return what kubectl prints; ``stdin`` is text, or objects to be written as JSON."""
        given = stdin if isinstance(stdin, str) or stdin is None else json.dumps(_as_list(stdin))
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig or self.kubeconfig), "HOME": str(self.folder)}
        command = [self._program, "kubectl", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0 or not check, f"kubectl {' '.join(arguments)}: {done.stderr[-2000:]}"
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """Return what ``kubectl get ... -o json`` prints, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *objects: Any) -> None:
        """Apply objects on the server's side."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=list(objects))

    def create_raw(self, path: str, content: Any) -> None:
        """Post an object to a path of the API, as subresources want it."""
        self.kubectl("create", "--raw", path, "-f", "-", stdin=content)

    def write_kubeconfig(self, path: Path, token: str) -> Path:
        """Write a client's settings with a bearer token and return their path."""
        cluster = {"server": self.url, "certificate-authority": str(self.ca)}
        settings = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "user"}}],
            "current-context": "real",
        }
        path.write_text(json.dumps(settings), encoding="utf-8")
        path.chmod(0o600)
        return path

    def wait(self, happened: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = _START_S) -> Any:
        """Return the first true answer of ``happened``; a program that ended or the time being up fails the test."""
        deadline, pause_s = time.monotonic() + timeout_s, 0.1
        while not (answer := happened()):
            assert not (ended := self._processes.exited()), ended
            assert time.monotonic() < deadline, (
                f"waited {timeout_s:.0f} s for {what if isinstance(what, str) else what()}"
            )
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, 1.0)
        return answer

    @cached_property
    def _http(self) -> urllib3.PoolManager:
        context = ssl.create_default_context(cafile=str(self.ca))
        return urllib3.PoolManager(ssl_context=context, retries=False, timeout=60, maxsize=8)

    def read(self, path: str, **query: str) -> Any:
        """Return what the API serves at a path, without the cost of a process."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = self._http.request("GET", self.url + path, fields=query, headers=headers)
        assert answer.status == 200, f"{path}: {answer.status} {answer.data[:300]!r}"
        return answer.json()

    def _is_ready(self) -> bool:
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            return bool(self._http.request("GET", f"{self.url}/readyz", headers=headers).status == 200)
        except (urllib3.exceptions.HTTPError, OSError):  # also while its certificate is not written
            return False

    def client(self, token: str | None = None) -> Any:
        """Return an API client of the official library, by default the administrator's."""
        from kubernetes import client

        settings = client.Configuration(host=self.url)
        settings.ssl_ca_cert = str(self.ca)
        settings.api_key = {"authorization": f"Bearer {token or self.token}"}
        return client.ApiClient(settings)

    def collector_token(self) -> str:
        """Return a token of the ServiceAccount that deploy/ gives the collector, with the rights that it gives."""
        kinds = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding")
        # What another test deleted may still be on its way out.
        phase = ("get", "namespace", "hypocenter", "-o", "jsonpath={.status.phase}")
        self.wait(lambda: self.kubectl(*phase, check=False) != "Terminating", "the end of the namespace before")
        rendered = yaml.safe_load_all(self.kubectl("kustomize", str(_DEPLOY / "overlays/single-node")))
        self.apply(*(found for found in rendered if found["kind"] in kinds))
        return self.kubectl("create", "token", "collector", "-n", "hypocenter").strip()


def _as_list(objects: Any) -> Any:
    if isinstance(objects, list):
        return {"apiVersion": "v1", "kind": "List", "items": objects}
    return objects


@contextmanager
def control_plane(program: Path, folder: Path) -> Iterator[ControlPlane]:
    """Run a control plane until the block ends, however it ends."""
    plane = ControlPlane(program, folder)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
