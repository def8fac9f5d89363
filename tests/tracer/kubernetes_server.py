"""A small API server in this process: lists in pages, watches, bookmarks, and the failures that clients must bear."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Manifest = dict[str, Any]


@dataclass
class Cluster:
    """Objects by plural and uid, and the log of what happened; ``denied`` and ``absent`` plurals are refused."""

    denied: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    page: int = 500
    objects: dict[str, dict[str, Manifest]] = field(default_factory=dict)
    history: list[tuple[int, str, str, Manifest]] = field(default_factory=list)
    oldest: int = 0
    version: int = 0
    cut: int = 0  # rises when all watches shall break
    requests: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, plural: str, obj: Manifest) -> None:
        with self.changed:
            self.version += 1
            held = self.objects.setdefault(plural, {})
            kind = "MODIFIED" if obj["metadata"]["uid"] in held else "ADDED"
            stored = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.version)}}
            held[obj["metadata"]["uid"]] = stored
            self.history.append((self.version, plural, kind, stored))
            self.changed.notify_all()

    def delete(self, plural: str, uid: str) -> None:
        with self.changed:
            self.version += 1
            gone = self.objects[plural].pop(uid)
            gone = gone | {"metadata": gone["metadata"] | {"resourceVersion": str(self.version)}}
            self.history.append((self.version, plural, "DELETED", gone))
            self.changed.notify_all()

    def forget(self) -> None:
        """Forget the history, as etcd's compaction does: an older watch cannot resume."""
        with self.changed:
            self.oldest, self.history = self.version, []
            self.break_watches()

    def break_watches(self) -> None:
        with self.changed:
            self.cut += 1
            self.changed.notify_all()

    def watched(self, plural: str) -> int:
        """Return how many watches of a kind were opened so far."""
        return sum(path.endswith(f"/{plural}") and "watch" in query for path, query, _ in self.requests)


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            plural = parts.path.rsplit("/", 1)[1]
            accept = self.headers.get("Accept", "")
            cluster.requests.append((parts.path, query, accept))
            if plural in cluster.denied:
                self._answer(403, {"kind": "Status", "code": 403, "message": f"cannot list {plural}"})
            elif plural in cluster.absent:
                self._answer(404, {"kind": "Status", "code": 404, "message": "the server could not find it"})
            elif "watch" in query:
                self._watch(plural, int(query["resourceVersion"]), accept)
            else:
                self._list(plural, query, accept)

        def _answer(self, code: int, content: Manifest) -> None:
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _list(self, plural: str, query: dict[str, str], accept: str) -> None:
            with cluster.changed:
                found = sorted(cluster.objects.get(plural, {}).values(), key=lambda o: o["metadata"]["uid"])
                start = int(query.get("continue", "0"))
                size = min(cluster.page, int(query.get("limit", "500")))
                metadata: Manifest = {"resourceVersion": str(cluster.version)}
                if start + size < len(found):
                    metadata["continue"] = str(start + size)
                items = [_seen(o, accept) for o in found[start : start + size]]
            self._answer(200, {"kind": "List", "metadata": metadata, "items": items})

        def _watch(self, plural: str, since: int, accept: str) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if since < cluster.oldest:
                gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
                self._chunk(gone)
                self.wfile.write(b"0\r\n\r\n")
                return
            cut = cluster.cut
            try:
                while True:
                    with cluster.changed:
                        news = [h for h in cluster.history if h[0] > since]
                        if cut == cluster.cut and not news:
                            cluster.changed.wait(0.2)
                        if cut != cluster.cut:
                            break
                    for version, of, kind, obj in news:
                        since = version
                        if of == plural:
                            self._chunk({"type": kind, "object": _seen(obj, accept)})
                    if news:
                        self._chunk({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(since)}}})
            except OSError:
                pass
            self.close_connection = True

        def _chunk(self, event: Manifest) -> None:
            line = json.dumps(event).encode() + b"\n"
            # In two parts, as a proxy may cut it.
            for part in (line[: len(line) // 2], line[len(line) // 2 :]):
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.flush()

    return Handler


def _seen(obj: Manifest, accept: str) -> Manifest:
    if "PartialObjectMetadata" not in accept:
        return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    return {"kind": "PartialObjectMetadata", "metadata": obj["metadata"]}


@contextmanager
def serving(cluster: Cluster, folder: Path) -> Iterator[str]:
    """Yield a kubeconfig of the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {"token": "test"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    place = folder / "kubeconfig"
    place.write_text(json.dumps(config))
    try:
        yield str(place)
    finally:
        server.shutdown()
        cluster.break_watches()
        server.server_close()
        thread.join()
