"""The process: the application on uvicorn, with TLS where it is configured, until SIGTERM."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import uvicorn

from hypocenter.errors import SourceError

from .app import create_app
from .config import Config
from .hook import Hook
from .outward import Outward
from .sinks import create

_SHUTDOWN_S = 10
# Longer than senders keep connections: one that is closed just as a notification is sent on it is an error there.
_KEEP_ALIVE_S = 120


def check(config: Config) -> None:
    """Raise SourceError, with key and remedy, for what would keep a hook from serving: secrets, TLS, templates, hosts.

    Whether the address to listen on is free only listening can tell.
    """
    config.auth.read()
    if config.tls is not None:
        config.tls.check()
    Outward(config, [create(sink) for sink in config.sinks])


def serve(config: Config) -> None:
    """Serve until told to end; what is accepted by then is delivered or stays in the journal.

    Raises
    ------
    SourceError
        It cannot serve as it is configured (`check`), or the address is taken.
    """
    check(config)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Its INFO lines hold whole addresses, and those of webhooks are secrets.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    host, port = config.host_and_port
    tls: dict[str, Any] = {}
    if config.tls is not None:
        tls = {"ssl_certfile": str(config.tls.certificate), "ssl_keyfile": str(config.tls.key)}
        if config.tls.client_ca is not None:
            tls |= {"ssl_ca_certs": str(config.tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    settings = uvicorn.Config(
        create_app(Hook(config)),
        host,
        port,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
        lifespan="on",
        **tls,
    )
    server = uvicorn.Server(settings)
    try:
        server.run()
    except SystemExit as error:  # uvicorn's way to say that it could not start; the log says why
        if server.lifespan.should_exit:
            raise SourceError("the hook could not start; the lines above tell why") from error
        remedy = "is the address taken, and is it one of this machine?"
        raise SourceError(f"listen: cannot listen on {config.listen}; {remedy}") from error
