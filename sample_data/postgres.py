"""A PostgreSQL server of our own: own data folder, own port, nothing left behind."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from .processes import Processes, as_user
from .wiring import DATABASE

_REMEDY = "apt-get install -y --no-install-recommends postgresql"
_SCHEMA = Path(__file__).with_name("shop") / "schema.sql"
_SETTINGS = (
    "fsync=off",
    "shared_buffers=128MB",
    "unix_socket_directories=",
    "jit=off",
    # A full scan must cost what it costs on one core, whatever the machine.
    "max_parallel_workers_per_gather=0",
)


class PostgresMissing(RuntimeError):
    """PostgreSQL is not installed; the message says how to install it."""


def find_binaries(packages: Path = Path("/usr/lib/postgresql")) -> Path:
    """Return the folder of ``initdb`` and ``postgres``, the newest packaged; raises PostgresMissing with the remedy."""
    packaged = sorted(packages.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if packaged:
        return packaged[-1].parent
    found = shutil.which("initdb")
    if found is None:
        raise PostgresMissing(f"the shop needs PostgreSQL, which is not installed: {_REMEDY}")
    return Path(found).resolve().parent


def start(
    processes: Processes,
    folder: Path,
    port: int,
    *,
    address: str = "127.0.0.1",
    inside: Sequence[str] = (),
    schema: Path = _SCHEMA,
    wait_s: float = 60,
) -> int:
    """Make a fresh cluster below ``folder``, start it, load the tables, and return the server's process id.

    ``inside``: the words before its command that put it into a network of its own.
    """
    binaries = find_binaries()
    data = folder / "postgres"
    data.mkdir()
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        known = {account.pw_name: account for account in pwd.getpwall()}
        user = known.get("postgres") or known["nobody"]
        os.chown(data, user.pw_uid, user.pw_gid)
    options = ["--auth=trust", "--username=shop", "--no-sync", "--encoding=UTF8", "--locale=C"]
    command = [str(binaries / "initdb"), "-D", str(data), *options]
    subprocess.run(
        ["setpriv", *as_user(user), *command] if user else command, check=True, stdout=subprocess.DEVNULL, cwd="/"
    )
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    with (data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
        rules.write("host all all all trust\n")
    identity = ["setpriv", "--pdeathsig", "INT", *as_user(user)] if user and inside else []
    server = [
        *inside,
        *identity,
        str(binaries / "postgres"),
        "-D",
        str(data),
        "-h",
        address,
        "-p",
        str(port),
        *settings,
    ]
    # Interrupt is the fast shutdown, which ends the server's own children too.
    pid = processes.start("postgres", server, death="INT", user=None if inside else user)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            with psycopg.connect(connection_string(port, "postgres", address), autocommit=True) as connection:
                connection.execute("create database shop")
            break
        except psycopg.OperationalError:
            if time.monotonic() > deadline or processes.exited():
                raise
            time.sleep(0.1)
    where = connection_string(port, address=address)
    subprocess.run([str(binaries / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", where, "-f", str(schema)], check=True)
    return pid


def connection_string(port: int, name: str = "shop", address: str = "127.0.0.1") -> str:
    """Return how to connect: the host is a name that clients report, the address is where it really is."""
    return f"host={DATABASE} hostaddr={address} port={port} dbname={name} user=shop"
