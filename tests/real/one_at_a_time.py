"""How several workers share the tests of real components: a file each, and what is started once by one of them."""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadFileScheduling

# Two labs or two clusters at once would disturb each other.
_TOGETHER = {"kubernetes_cluster": "kubernetes", "test_lab": "lab", "spark_cluster": "spark"}


class OneAtATime(LoadFileScheduling):
    """Tests of one file run in one worker; so do all files that use the cluster, and all that use the lab."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.split("::")[0])
        groups = (group for word, group in _TOGETHER.items() if word in path.parts or path.name.startswith(word))
        return next(groups, str(path))
