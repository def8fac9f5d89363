"""The control plane that the tests of this folder share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from control_plane import ControlPlane, control_plane
from go_peers import built
from workloads import node

from sample_data.processes import working_folder


@pytest.fixture(scope="session")
def plane(go: str) -> Iterator[ControlPlane]:
    """Yield a running control plane without nodes."""
    program = built("kubernetes", go)
    with working_folder() as folder, control_plane(program, folder) as running:
        yield running


_NUMBERS = itertools.count(1)


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """Yield a namespace of the test's own, with a node to run on."""
    name = f"shop-{next(_NUMBERS)}"
    if not plane.get("nodes")["items"]:
        plane.kubectl("create", "-f", "-", stdin=[node("node-1"), node("node-2")])
    plane.kubectl("create", "namespace", name)
    plane.wait(lambda: plane.kubectl("get", "serviceaccount", "default", "-n", name, check=False), "its account")
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")
