"""The steps of docs/howto/alerts.md, run as they stand there, with ports that are free."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent)]

import hook_chain as chain  # noqa: E402

PAGE = (ROOT / "docs/howto/alerts.md").read_text(encoding="utf-8")
BLOCKS = [
    (kind, textwrap.dedent(text))
    for kind, text in re.findall(r"^ *```(sh|yaml)\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
]


@pytest.mark.slow
def test_each_step_leads_to_an_alert_with_its_origin(program: Callable[..., str], tmp_path: Path) -> None:
    alertmanager, curl = program("prometheus-alertmanager", "alertmanager"), program("curl")
    hook_port, manager_port = chain.free_port(), chain.free_port()

    def own(text: str) -> str:
        return text.replace("9095", str(hook_port)).replace("9093", str(manager_port))

    (demo, hook, manager, alert) = [own(text) for kind, text in BLOCKS if kind == "sh"]
    for kind, text in BLOCKS[:-1]:
        if kind == "yaml":
            (tmp_path / text.split("\n", 1)[0].removeprefix("# ")).write_text(own(text), encoding="utf-8")
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    more = {"cwd": tmp_path, "env": os.environ | {"PATH": search}}
    subprocess.run(["sh", "-ec", demo], check=True, capture_output=True, timeout=200, **more)
    manager = manager.replace("alertmanager ", f"{alertmanager} ", 1).strip()
    manager += f" --web.listen-address=127.0.0.1:{manager_port} --cluster.listen-address="
    with (
        chain.process(["sh", "-ec", f"exec {hook}"], tmp_path / "hook.log", **more),
        chain.process(["sh", "-ec", f"exec {manager}"], tmp_path / "manager.log", **more),
    ):
        chain.wait_for(lambda: httpx.get(f"http://127.0.0.1:{hook_port}/readyz").json()["enrichment"], "the hook", 120)
        chain.wait_for(lambda: httpx.get(f"http://127.0.0.1:{manager_port}/-/ready").is_success, "Alertmanager")
        subprocess.run(["sh", "-ec", alert.replace("curl", curl, 1)], check=True, timeout=30, **more)
        printed = tmp_path / "hook.log"
        chain.wait_for(lambda: "likely the origin" in printed.read_text(encoding="utf-8"), "the answer", 90)
        listed = httpx.get(f"http://127.0.0.1:{hook_port}/incidents", timeout=30).text
    # Markdown escapes what could mean something.
    assert "catalog 9.0.0 (change)" in printed.read_text(encoding="utf-8").replace("\\", "")
    assert "catalog 9.0.0 (change)" in listed
