"""``opentelemetry-instrument python -m sample_data.lab.service``, told by the environment who it is.

LAB_SERVICE, LAB_ENDPOINTS (JSON of the wiring), LAB_CONFIG (a file, as a mounted ConfigMap), LAB_HURT (a file: what is
broken inside), LAB_VOLUME (a folder), LAB_PEERS (JSON of addresses where there is no name server).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading

from .engine import Engine
from .hurt import Hurt
from .json_file import JsonFile
from .serve import consume, every, serve_grpc, serve_http


def main() -> None:
    """Serve every endpoint of the service until SIGTERM."""
    logging.getLogger("shop").setLevel(logging.INFO)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    endpoints = json.loads(os.environ["LAB_ENDPOINTS"])
    hurt = Hurt(JsonFile(os.environ["LAB_HURT"]))
    engine = Engine(os.environ["LAB_SERVICE"], JsonFile(os.environ["LAB_CONFIG"]), hurt)
    serve_http(engine, {k: v for k, v in endpoints.items() if k.split()[0] in ("GET", "POST")})
    serve_grpc(engine, {k.split()[1]: v for k, v in endpoints.items() if k.startswith("grpc ")})
    for name, steps in endpoints.items():
        kind, _, rest = name.partition(" ")
        if kind == "queue":
            threading.Thread(target=consume, args=(engine, rest, steps, stop), daemon=True).start()
        if kind == "every":
            threading.Thread(target=every, args=(engine, float(rest), steps, stop), daemon=True).start()
    while not stop.wait(0.2):
        hurt.tick(engine)


main()
