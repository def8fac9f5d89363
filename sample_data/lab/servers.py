"""What the services lean on: PostgreSQL, Redis, RabbitMQ, and a third party; each a pod of its own."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .. import postgres
from .wiring import BANK, BROKER, CACHE, DATABASE

if TYPE_CHECKING:
    from .cluster import Cluster, Running

_HERE = Path(__file__).parent
_RABBIT = """listeners.tcp.default = {address}:5672
prometheus.tcp.ip = {address}
loopback_users = none
collect_statistics_interval = 2000
log.console = true
log.console.level = error
log.file = false
"""


_NO_BUSY_WAIT = "+sbwt none +sbwtdcpu none +sbwtdio none"


class ServerMissing(RuntimeError):
    """A server is not installed; the message says how to install it."""


def binary(name: str, package: str) -> str:
    """Return where a program is; raises ServerMissing with the package to install."""
    found = shutil.which(name)
    if found is None:
        raise ServerMissing(f"the lab needs {name}: apt-get install -y --no-install-recommends {package}")
    return found


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_database(cluster: Cluster, run: Running) -> int:
    """Start PostgreSQL with the lab's tables."""
    words = cluster.network.inside(run.pod.name)
    address = cluster.network.address(run.pod.name)
    return postgres.start(
        cluster.processes, cluster.folder, 5432, address=address, inside=words, schema=_HERE / "schema.sql"
    )


def start_cache(cluster: Cluster, run: Running) -> int:
    """Start Redis without persistence."""
    options = [
        "--bind",
        cluster.network.address(run.pod.name),
        "--save",
        "",
        "--maxmemory",
        "32mb",
        "--protected-mode",
        "no",
    ]
    command = [*cluster.network.inside(run.pod.name), binary("redis-server", "redis-server"), *options]
    return cluster.processes.start(run.pod.name, command)


def start_broker(cluster: Cluster, run: Running) -> int:
    """Start RabbitMQ, and before it its port mapper, which it would otherwise leave behind."""
    network, processes = cluster.network, cluster.processes
    (run.folder / "rabbitmq.conf").write_text(_RABBIT.format(address=network.address(run.pod.name)))
    (run.folder / "enabled_plugins").write_text("[rabbitmq_prometheus].\n")
    mapper_port, own_port = free_port(), free_port()
    environment = {
        "HOME": str(run.folder),
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_CONFIG_FILE": str(run.folder / "rabbitmq"),
        "RABBITMQ_MNESIA_BASE": str(run.folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(run.folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(run.folder / "enabled_plugins"),
        "RABBITMQ_DIST_PORT": str(own_port),
        # With input allowed the script becomes the server, instead of starting one that would outlive it.
        "RABBITMQ_ALLOW_INPUT": "true",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -start_epmd false +S 1:1 " + _NO_BUSY_WAIT,
        "ERL_EPMD_PORT": str(mapper_port),
    }
    inside = network.inside(run.pod.name)
    mapper = [binary("epmd", "erlang-base"), "-address", "127.0.0.1", "-port", str(mapper_port)]
    processes.start(f"{run.pod.name}-mapper", [*inside, *mapper])
    binary("rabbitmq-server", "rabbitmq-server")
    return processes.start(run.pod.name, [*inside, "/usr/lib/rabbitmq/bin/rabbitmq-server"], env=environment)


def start_bank(cluster: Cluster, run: Running) -> int:
    """Start the third party."""
    address, hurt = cluster.network.address(run.pod.name), str(run.folder / "hurt.json")
    command = [*cluster.network.inside(run.pod.name), sys.executable, str(_HERE / "bank.py"), address, hurt]
    return cluster.processes.start(run.pod.name, command)


START = {DATABASE: start_database, CACHE: start_cache, BROKER: start_broker, BANK: start_bank}
