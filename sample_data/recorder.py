"""Recording: the shop started, loaded, hurt at its time, and everything it said written down with the label."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg

from . import postgres
from .cut import Request, cut, is_complete
from .effect import measure, read_requests, to_label
from .injection import Injection
from .metrics import MetricsRecording
from .otlp_sink import OtlpSink, to_lines
from .plan import Plan, Pod
from .processes import Processes, working_folder
from .scrape import Scraper, Target
from .shop.replica import Replica
from .slow_edge import SlowEdge
from .wiring import CALLS, DATABASE, ENTRY

SCRAPE_EVERY_S = 5.0
START_TIMEOUT_S = 60.0
# After the load: what is under way ends, and every batch of telemetry is exported.
DRAIN_S = 1.0

Report = Callable[[str, float], None]


class Shop:
    """The running shop: replicas and database by pod name, and what it takes to hurt them."""

    def __init__(self, plan: Plan, folder: Path, processes: Processes, collector: str) -> None:
        self.plan = plan
        self.processes = processes
        self.folder = folder
        self._collector = collector
        self._database_port = _free_port()
        self.ports = {pod.name: _free_port() for pod in plan.pods if pod.service != DATABASE}
        self._pids: dict[str, int] = {}
        self.edge: SlowEdge | None = None

    @property
    def replicas(self) -> list[Pod]:
        """Every pod but the database's."""
        return [pod for pod in self.plan.pods if pod.service != DATABASE]

    @property
    def entry(self) -> str:
        """Where users come in."""
        return next(f"http://127.0.0.1:{self.ports[pod.name]}" for pod in self.replicas if pod.service == ENTRY)

    def start(self, stack: contextlib.ExitStack) -> None:
        """Start the database, then every replica, and wait until all answer."""
        self._pids[DATABASE] = postgres.start(self.processes, self.folder, self._database_port)
        if self.plan.kind.place == "edge" and self.plan.root_cause:
            slow = next(pod for pod in self.replicas if pod.service == self.plan.root_cause)
            self.edge = stack.enter_context(SlowEdge(self.ports[slow.name]))
        for pod in self.replicas:
            self.start_replica(pod)
        deadline = time.monotonic() + START_TIMEOUT_S
        for pod in self.replicas:
            while not self._is_ready(pod):
                if time.monotonic() > deadline or self.processes.exited():
                    raise RuntimeError(f"{pod.name} did not start; {'; '.join(self.processes.exited()) or 'no answer'}")
                time.sleep(0.1)

    def start_replica(self, pod: Pod) -> None:
        """Start the process of one pod."""
        replica = Replica(
            service=pod.service,
            version=pod.version,
            instance=pod.instance,
            pod=pod.name,
            node=pod.node,
            port=self.ports[pod.name],
            peers={peer: self._addresses(pod.service, peer) for peer in CALLS[pod.service] if peer != DATABASE},
            database=postgres.connection_string(self._database_port),
            collector=self._collector,
            seed=self.plan.seed,
        )
        environment = {
            "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        }
        command = [sys.executable, "-m", "sample_data.shop", replica.to_json()]
        self._pids[pod.name] = self.processes.start(pod.name, command, env=environment)

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection of our own to the database."""
        return psycopg.connect(postgres.connection_string(self._database_port), autocommit=True)

    def targets(self) -> list[Target]:
        """Return what to scrape."""
        found = [Target(pod, self._pids[pod.name], self.ports[pod.name]) for pod in self.replicas]
        database = next(pod for pod in self.plan.pods if pod.service == DATABASE)
        return [*found, Target(database, self._pids[DATABASE], 0)]

    def _addresses(self, caller: str, callee: str) -> list[str]:
        if self.edge and self.plan.target == f"{caller}->{callee}":
            return [f"127.0.0.1:{self.edge.port}"]
        return [f"127.0.0.1:{self.ports[pod.name]}" for pod in self.replicas if pod.service == callee]

    def _is_ready(self, pod: Pod) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports[pod.name]}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


def record(plan: Plan, out: Path, report: Report = lambda _what, _share: None) -> dict[str, Any]:
    """Record one incident into ``out/incidents/<case>`` and its label into ``out/CASES.jsonl``; return the label.

    ``report`` is told what happens and the share of the time that has passed, 0 to 1. Nothing of the shop is left when
    this returns or raises, and no file below ``out`` unless the recording is whole.
    """
    report("starting the shop", 0.0)
    metrics = MetricsRecording()
    with working_folder() as folder, contextlib.ExitStack() as stack:
        processes = Processes(folder)
        stack.callback(processes.stop_all)
        sink = stack.enter_context(OtlpSink())
        shop = Shop(plan, folder, processes, sink.url)
        shop.start(stack)
        with shop.connect() as database:
            inject_ns, start_ns, end_ns = _run(shop, metrics, database, report)
        processes.stop_all()  # each replica exports what it still holds
        report("writing", 1.0)
        traces, logs = cut(sink.requests["/v1/traces"], sink.requests["/v1/logs"], start_ns, end_ns)
        effects = measure(read_requests(folder / "load.jsonl"), start_ns, inject_ns, end_ns)
        label = plan.label(round(inject_ns / 1e9, 3)) | to_label(effects) | {"traces_complete": is_complete(traces)}
    _write(out, label, traces, logs, metrics.to_text())
    return label


def _run(
    shop: Shop, metrics: MetricsRecording, database: psycopg.Connection[Any], report: Report
) -> tuple[int, int, int]:
    """Run the load to the end of the plan; return when the fault, the recording and its end came, epoch ns."""
    plan, processes = shop.plan, shop.processes
    load = [sys.executable, "-m", "sample_data.shop.load", shop.entry, str(plan.seed), str(plan.users)]
    root = str(Path(__file__).resolve().parent.parent)
    processes.start("load", [*load, str(plan.think_s), str(shop.folder / "load.jsonl")], env={"PYTHONPATH": root})
    begin, begin_ns = time.monotonic(), time.time_ns()
    injection = Injection(shop)
    scraper = Scraper(metrics)
    inject_ns = begin_ns + round(plan.inject_s * 1e9)
    next_scrape, begun, healed = plan.warmup_s, False, False
    with contextlib.closing(scraper), injection:
        while (now := time.monotonic() - begin) < plan.end_s:
            if not begun and now >= plan.inject_s:
                inject_ns, begun = time.time_ns(), True
                injection.begin()
            if not healed and now >= plan.inject_s + plan.during_s:
                healed = True
                injection.end()
            injection.step(now - plan.inject_s)
            if now >= next_scrape:
                scraper.scrape(shop.targets(), database)
                next_scrape += SCRAPE_EVERY_S
            if processes.exited():
                raise RuntimeError(f"ended during the recording: {'; '.join(processes.exited())}")
            report(f"fault {plan.kind.name}" if begun and not healed else "no fault", now / plan.end_s)
            time.sleep(0.1)
        end_ns = time.time_ns()
        processes.stop("load")
        time.sleep(DRAIN_S)
    return inject_ns, begin_ns + round(plan.warmup_s * 1e9), end_ns


def _write(out: Path, label: dict[str, Any], traces: list[Request], logs: list[Request], metrics: str) -> None:
    folder = out / "incidents" / str(label["case"])
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, text in (
            ("traces.jsonl.gz", to_lines(traces)),
            ("logs.jsonl.gz", to_lines(logs)),
            ("metrics.om.gz", metrics),
        ):
            # No time of packing inside, so that equal telemetry is an equal file.
            (partial / name).write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    add_case(out / "CASES.jsonl", label)


def add_case(file: Path, label: dict[str, Any]) -> None:
    """Write a label into a CASES.jsonl, in place of one of the same case; lines are sorted by case."""
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # several recorders may share the file
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        others = {case["case"]: line for line in lines if line.strip() for case in [json.loads(line)]}
        others[label["case"]] = json.dumps(label, ensure_ascii=False)
        new = file.with_name(f".{file.name}.new")
        new.write_text("".join(f"{line}\n" for _, line in sorted(others.items())), encoding="utf-8")
        new.replace(file)
    finally:
        os.close(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def progress() -> Iterator[Report]:
    """Yield a report that draws a bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<22}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)
