"""A real server of S3 on this machine with one bucket, which the environment of this process lets everybody into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from go_peers import built
from hook_chain import free_port, wait_for

from sample_data.processes import Processes


@dataclass
class Bucket:
    """The server can be stopped and started again; what it holds stays."""

    program: str
    folder: Path
    processes: Processes
    port: int

    @property
    def variables(self) -> dict[str, str]:
        """What in the environment of a process lets it in."""
        address = f"http://127.0.0.1:{self.port}"
        return {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "secret"}

    def url(self, prefix: str) -> str:
        """Return a place in the bucket."""
        return f"s3://telemetry/{prefix}"

    def start(self) -> None:
        """Start the server."""
        command = [self.program, "--port", f"127.0.0.1:{self.port}", "--access", "reader", "--secret", "secret"]
        command += ["--access-log", str(self.folder / "access.log")]
        self.processes.start("versitygw", [*command, "posix", str(self.folder / "buckets")])
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{self.port}").status_code, "the server of S3")

    def listings(self) -> int:
        """Return how many listings were asked for, each of at most a thousand objects."""
        return (self.folder / "access.log").read_text(encoding="utf-8").count("list-type=2")

    def stop(self) -> None:
        """End it at once."""
        self.processes.kill("versitygw")


@contextmanager
def serving(go: str, folder: Path) -> Iterator[Bucket]:
    """Yield an empty bucket ``telemetry``."""
    (folder / "buckets" / "telemetry").mkdir(parents=True)
    processes, port = Processes(folder), free_port()
    bucket = Bucket(str(built("versitygw", go)), folder, processes, port)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in bucket.variables.items():
            environment.setenv(name, value)
        try:
            bucket.start()
            yield bucket
        finally:
            processes.stop_all()
