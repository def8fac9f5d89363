"""A real fault, seen by real Prometheus, told by real Alertmanager: the notification names its origin."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import hook_chain as chain  # noqa: E402

from hypocenter.tracer.store import Store  # noqa: E402
from sample_data.injection import Injection  # noqa: E402
from sample_data.plan import plan  # noqa: E402
from sample_data.processes import Processes, working_folder  # noqa: E402
from sample_data.recorder import Shop  # noqa: E402

ORIGIN = "shipping"
BASELINE_S = 75


def first_failure(log: Path, after_s: float) -> float | None:
    """Return when a user first got an error, in seconds since the epoch."""
    for line in log.read_text(encoding="utf-8").splitlines():
        request = json.loads(line)
        ended = request["time_ns"] / 1e9 + request["duration_ms"] / 1e3
        if request["status"] >= 500 and ended >= after_s:
            return float(ended)
    return None


@pytest.mark.slow
def test_the_notification_of_a_real_fault_names_its_origin(
    program: Callable[..., str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    prometheus, manager = program("prometheus"), program("prometheus-alertmanager", "alertmanager")
    program("postgresql/*/bin/postgres", "postgres")
    chosen = plan("failing-service", ORIGIN, seed=2, users=16, think_s=0.35)
    store = Store(tmp_path / "store", create=True)
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        otlp = enter(chain.Listener(chain.into_store(store)))
        receiver = enter(chain.Listener())
        folder = enter(working_folder())
        processes = Processes(folder)
        stack.callback(processes.stop_all)
        shop = Shop(chosen, folder, processes, otlp.url)
        shop.start(stack)
        ports: dict[str, list[int]] = {}
        for pod in shop.replicas:
            ports.setdefault(pod.service, []).append(shop.ports[pod.name])
        config: dict[str, Any] = {"store": str(store.path), "state": str(tmp_path / "state")}
        config |= {"public_url": "http://hook.example", "sinks": [{"kind": "webhook", "url": receiver.url}]}
        manager_address = f"127.0.0.1:{chain.free_port()}"
        scraper = enter(chain.prometheus(prometheus, tmp_path / "prometheus", ports, manager_address))
        hook, _ = enter(chain.hook(tmp_path, config | {"prometheus": scraper}))
        # Between the two stands one that remembers what Alertmanager sent, and when.
        posted = enter(chain.Listener(lambda _path, _headers, body: forward(f"{hook}/alertmanager", body)))
        enter(chain.alertmanager(manager, tmp_path / "alertmanager", posted.url, manager_address))
        load = folder / "load.jsonl"
        arguments = [sys.executable, "-m", "sample_data.shop.load", shop.entry, "2", "16", "0.35", str(load)]
        processes.start("load", arguments, env={"PYTHONPATH": str(ROOT)})
        time.sleep(BASELINE_S)
        assert not receiver.got
        injection = enter(Injection(shop))
        injected = time.time()
        injection.begin()
        chain.wait_for(lambda: len(receiver.got) >= 2, "two alerts", 90)
        injection.end()
        chain.wait_for(lambda: any(s.startswith("Resolved: ") for s in summaries(receiver)), "the end", 120)
        incidents = httpx.get(f"{hook}/incidents", headers={"Accept": "application/json"}).json()
        processes.stop("load")  # which writes what it still holds
        visible = first_failure(load, injected)
    # On a machine that is too busy for a ranking within the deadline the alert went first, and the answer followed.
    named = next(n for n, got in enumerate(receiver.bodies) if "hypocenter_origin_service" in got["commonAnnotations"])
    added = receiver.bodies[named]["commonAnnotations"]
    assert visible is not None
    at, answered, sent = receiver.got[0][0], receiver.got[named][0], posted.got[0][0]
    record_property("visible_to_notification_s", round(at - visible, 2))
    record_property("post_to_notification_s", round(at - sent, 3))
    print(f"\nnotified {at - visible:.1f} s after the visible effect, {at - sent:.2f} s after the POST;", end=" ")
    print(f"answered {answered - sent:.2f} s after it")
    print("\n".join(summaries(receiver)), added["hypocenter_details"], sep="\n")
    assert added["hypocenter_origin_service"] == ORIGIN
    assert added["hypocenter_path"].startswith(f"{ORIGIN} -> checkout")
    assert abs(incidents[0]["finding"]["onset_ns"] / 1e9 - injected) < 30
    # The rule's `for` and rates were asked of Prometheus, so nothing had to be assumed.
    assert "rule" not in added["hypocenter_not_checked"]
    # Prometheus was asked for its series too; only a machine that is too busy may keep it from answering in time.
    asked = [text for text in incidents[0]["finding"]["not_checked"] if text.startswith("prometheus: ")]
    assert [text for text in asked if "no whole answer" not in text and "did not answer" not in text] == []
    assert len(incidents) == 1
    assert [s for s in summaries(receiver) if s.startswith(("Now also ", "Confirmed: ", "Still ", "Resolved here"))]
    assert summaries(receiver)[-1].endswith(f"origin {ORIGIN} (service)")
    # The deadline is 2 s; the rest is a loaded machine's.
    assert at - sent < 6
    # Two groups that are posted at nearly the same time may arrive in either order.
    first = receiver.bodies[0]
    assert_untouched_but_for_annotations(next(b for b in posted.bodies if b["groupKey"] == first["groupKey"]), first)


def summaries(receiver: chain.Listener) -> list[str]:
    return [got["commonAnnotations"].get("hypocenter_summary", "") for got in receiver.bodies]


def forward(url: str, body: bytes) -> int:
    return httpx.post(url, content=body, headers={"Content-Type": "application/json"}, timeout=10).status_code


def assert_untouched_but_for_annotations(sent: dict[str, Any], got: dict[str, Any]) -> None:
    def bare(annotations: dict[str, str]) -> dict[str, str]:
        return {name: text for name, text in annotations.items() if not name.startswith("hypocenter_")}

    plain = got | {"commonAnnotations": bare(got["commonAnnotations"])}
    plain["alerts"] = [alert | {"annotations": bare(alert["annotations"])} for alert in got["alerts"]]
    assert plain == sent
