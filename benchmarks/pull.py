"""A pull of a real Prometheus into a store, against its answers alone and the data frames of its client library."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import requests

from hypocenter.errors import SourceError
from hypocenter.tracer.pull import prometheus as source
from hypocenter.tracer.pull.stored import store_new
from hypocenter.tracer.store import Store
from hypocenter.tracer.window import SECOND_NS, Window

from .measure import Measurement, measure

DESCRIPTION = "samples/s from a Prometheus into the store, against reading its answers and its client's data frames"
_STEP_S = 15
_SELECTOR = '{job="bench"}'
# A data frame of more shows nothing new.
_FRAME_SERIES = 200


def run(
    series: int = 5_000, hours: int = 1, prometheus: str = "prometheus", promtool: str = "promtool"
) -> dict[str, Any]:
    """Return samples per second and memory; the programs are those of Debian's ``prometheus``.

    A Prometheus is given ``series`` of ``hours``, one sample each 15 s. The answers alone: the same selector asked in
    pieces of ten minutes, each read whole and parsed as JSON.
    """
    samples = series * hours * 3600 // _STEP_S
    end_s = int(time.time()) // 3600 * 3600
    start_s = end_s - hours * 3600
    with tempfile.TemporaryDirectory(prefix="hypocenter-benchmark-") as name:
        folder = Path(name)
        _write_blocks(folder, promtool, series, range(start_s, end_s, _STEP_S))
        with _serving(folder, prometheus) as url:
            span = {"url": url, "start_s": start_s, "end_s": end_s}
            alone = measure(answers_alone, **span)
            pulled = measure(pull, path=f"{folder}/store", **span)
            again = measure(pull, path=f"{folder}/store", **span)
            frames = measure(data_frames, **span)
    stored, repeated = pulled.result, again.result
    if stored != samples or repeated:
        raise SourceError(f"expected {samples} samples, then none; got {stored}, then {repeated}")
    return {
        "samples": samples,
        "answer_bytes": alone.result,
        "answers alone": _figures(alone, samples),
        "pull": _figures(pulled, samples) | {"ratio_to_answers_alone": alone.seconds / pulled.seconds},
        "pull again, nothing new": _figures(again, samples),
        "data frames of the client": _figures(frames, frames.result),
    }


def answers_alone(url: str, start_s: int, end_s: int) -> int:
    """Ask for all samples, parse the answers, and return their bytes."""
    found = 0
    with requests.Session() as session:
        for at in range(start_s + 600, end_s + 1, 600):
            given = {"query": f"{_SELECTOR}[10m]", "time": str(at - 0.001)}
            body = session.get(f"{url}/api/v1/query", params=given, timeout=300).content
            orjson.loads(body)
            found += len(body)
    return found


def pull(url: str, start_s: int, end_s: int, path: str) -> int:
    """Pull all samples into a store and return how many were new."""
    window = Window(start_s * SECOND_NS, end_s * SECOND_NS)
    batches = source.fetch(url, window, [_SELECTOR], exemplars=False)
    return store_new(Store(path, create=True), url, window, batches).accepted["points"]


def data_frames(url: str, start_s: int, end_s: int) -> int:
    """Read a few series into the data frame of the client library and return how many samples it has."""
    import warnings

    from prometheus_api_client import MetricRangeDataFrame, PrometheusConnect

    warnings.simplefilter("ignore")
    few = _SELECTOR.replace("}", f',number=~"[0-9]{{1,{len(str(_FRAME_SERIES - 1)) - 1}}}|1[0-9]{{2}}"}}')
    answer = PrometheusConnect(url).custom_query(f"{few}[{end_s - start_s}s]", params={"time": str(end_s - 0.001)})
    return len(MetricRangeDataFrame(answer))


def _figures(found: Measurement, samples: int) -> dict[str, Any]:
    return {"samples_per_s": samples / found.seconds, **found.to_dict()}


def _write_blocks(folder: Path, promtool: str, series: int, times: range) -> None:
    """Write counters of pods as Prometheus' own blocks."""
    with (folder / "series.txt").open("w") as file:
        file.write("# TYPE bench_requests counter\n")
        for number in range(series):
            labels = f'job="bench",number="{number}",service="service-{number % 50}",pod="pod-{number}"'
            file.writelines(
                f"bench_requests_total{{{labels}}} {at * (number % 7 + 1)} {time}\n" for at, time in enumerate(times)
            )
        file.write("# EOF\n")
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", folder / "series.txt", folder / "blocks"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SourceError(f"{promtool}: {done.stderr[-200:]}")


@contextmanager
def _serving(folder: Path, program: str) -> Iterator[str]:
    (folder / "prometheus.yml").write_text("{}")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/blocks"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=10y", "--log.level=error"]
    with subprocess.Popen([*command, "--query.max-samples=500000000"]) as server:
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    requests.get(f"{url}/-/ready", timeout=5).raise_for_status()
                    break
                except requests.RequestException:
                    if time.monotonic() > until:
                        raise SourceError(f"{program}: not ready within a minute") from None
                    time.sleep(0.1)
            yield url
        finally:
            server.terminate()
