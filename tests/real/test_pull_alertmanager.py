"""A real Alertmanager: alerts that fire, are silenced, end and vanish, as events."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import urllib3
from scraped import free_port, wait

from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.pull import sources
from hypocenter.tracer.pull.alertmanager import fetch
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import MINUTE_NS, Window, parse_time
from sample_data.processes import Processes

pytestmark = pytest.mark.timeout(180)
BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
LABELS = {"alertname": "HighLatency", "namespace": "shop", "service": "cart", "severity": "page", "pod": "cart-1"}


@pytest.fixture
def url(program: Callable[..., str], tmp_path: Path) -> Iterator[str]:
    port = free_port()
    config = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}
    (tmp_path / "alertmanager.yml").write_text(json.dumps(config), encoding="utf-8")
    processes = Processes(tmp_path)
    command = [program("prometheus-alertmanager"), f"--config.file={tmp_path}/alertmanager.yml"]
    command += [f"--storage.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"]
    processes.start("alertmanager", [*command, "--cluster.listen-address="])
    try:
        found = f"http://127.0.0.1:{port}"
        wait(lambda: is_ready(found), processes)
        yield found
    finally:
        processes.stop_all()


def is_ready(url: str) -> bool:
    try:
        return urllib3.request("GET", f"{url}/-/ready", retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def post(url: str, labels: dict[str, str], ended: datetime | None = None) -> None:
    alert = {"labels": labels, "annotations": {"summary": "p99 above 1 s"}, "startsAt": BEGAN.isoformat()}
    alert |= {"endsAt": ended.isoformat()} if ended else {}
    assert urllib3.request("POST", f"{url}/api/v2/alerts", json=[alert]).status == 200


def told(batch: Batch) -> list[tuple[object, ...]]:
    names = ("time_ns", "reason", "message", "service", "object_kind", "object_name", "namespace")
    return [tuple(row[name] for name in names) for row in batch.table("events").to_pylist()]


def test_an_alert_that_fires_is_an_event_at_its_beginning(url: str) -> None:
    post(url, LABELS)
    began_ns = parse_time(BEGAN.isoformat())
    wait(lambda: bool(told(concat(fetch(url, Window(began_ns, began_ns + 1))))))
    batch = concat(fetch(url, Window(began_ns, began_ns + 60 * MINUTE_NS)))
    assert told(batch) == [(began_ns, "HighLatency", "p99 above 1 s", "cart", "Pod", "cart-1", "shop")]
    attributes = {key: json.loads(value) for key, value in batch.table("events")["attributes"][0].as_py()}
    assert attributes["label.severity"] == "page" and attributes["status"] == "firing"
    assert told(concat(fetch(url, Window(began_ns + 1, began_ns + 60 * MINUTE_NS)))) == []


def test_a_running_pull_tells_beginning_and_end_once_over_a_restart(url: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    began_ns = parse_time(BEGAN.isoformat())

    class Sink:
        def put(self, batch: Batch, timeout_s: float | None = None) -> None:
            store.append(batch)

    def events() -> list[str]:
        table = store.read("events").sort_by("time_ns")
        return [f"{row['reason']}: {dict(row['attributes'])['status']}" for row in table.to_pylist()]

    def run(until: Callable[[], bool]) -> None:
        stop = threading.Event()
        (source,) = sources({"alertmanager": {"url": url, "interval": "200ms"}, "store": tmp_path / "store"})
        running = threading.Thread(target=source.run, args=(Sink(), stop))
        running.start()
        wait(until)
        stop.set()
        running.join(30)

    post(url, LABELS)
    run(lambda: len(events()) == 1)
    post(url, {"alertname": "Other"})
    run(lambda: len(events()) == 2)
    # While nothing pulled one ended: it is no longer listed.
    post(url, LABELS, datetime.now(UTC))
    run(lambda: len(events()) == 3)
    run(lambda: True)
    assert sorted(events()) == ['HighLatency: "firing"', 'HighLatency: "resolved"', 'Other: "firing"']
    assert store.read("events")["time_ns"].to_pylist().count(began_ns) == 2
