"""The third party: an HTTP API that nobody here can instrument; ``python bank.py ADDRESS HURT_FILE``."""

from __future__ import annotations

import json
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Bank(BaseHTTPRequestHandler):
    """Authorises a payment whose credential is valid."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer after what a bank takes."""
        hurt = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(random.uniform(0.01, 0.02))
        status = 200 if self.headers.get("Authorization") == "valid" else 401
        if "slow" in hurt:
            time.sleep(hurt["slow"]["delay_s"] * random.uniform(0.7, 1.3))
        if "exception" in hurt and random.random() < hurt["exception"]["share"]:
            status = 503
        body = json.dumps({"authorized": status == 200}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


ThreadingHTTPServer((sys.argv[1], 8080), Bank).serve_forever()
