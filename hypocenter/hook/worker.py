"""The ranking's own process: ``python -m hypocenter.hook.worker``, JSON lines in and out.

It may crash, hang or grow: the hook kills it and starts another, and no notification waits for it beyond its deadline.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from hypocenter.errors import HypocenterError

_LOOK_EVERY_S = 0.25
_EXIT_TOO_LARGE, _EXIT_ORPHAN = 77, 78
# After an answer: a process that has grown that far is replaced before it reaches the bound.
_REPLACE_AT = 0.7


def main() -> None:
    """Answer requests until standard input ends; the only argument bounds resident memory in bytes."""
    bound = int(sys.argv[1])
    # Whatever a library prints must not land between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with contextlib.suppress(OSError):  # the kernel ends the worker before the hook
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    threading.Thread(target=_watch, args=(bound, os.getppid()), daemon=True).start()
    _serve(sys.stdin, answers, bound)


def _serve(requests: TextIO, answers: TextIO, bound: int) -> None:
    import orjson

    from . import ranking

    try:
        ranking.warm_up()
    except Exception as error:  # noqa: BLE001  a cold worker is better than none
        sys.stderr.write(f"hypocenter hook: the ranking is not warm: {error}\n")
    _say(answers, {"ready": True})
    for line in requests:
        request = orjson.loads(line)
        answer: dict[str, Any] = {"id": request["id"]}
        try:
            answer["result"] = ranking.KINDS[request["kind"]](**request["arguments"])
        except HypocenterError as error:
            answer["error"] = str(error)
        except Exception as error:  # noqa: BLE001  a ranking that breaks is an answer, like one that cannot be had
            answer["error"] = f"{type(error).__name__}: {error}"
        _say(answers, answer)
        if resident_bytes() > _REPLACE_AT * bound:
            return


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    import orjson

    answers.write(orjson.dumps(answer, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode() + "\n")
    answers.flush()


def _watch(bound: int, parent: int) -> None:
    while True:
        if resident_bytes() > bound:
            sys.stderr.write(f"hypocenter hook: the ranking needs more than {bound >> 20} MiB and is ended\n")
            os._exit(_EXIT_TOO_LARGE)
        if os.getppid() != parent:
            os._exit(_EXIT_ORPHAN)
        time.sleep(_LOOK_EVERY_S)


def resident_bytes() -> int:
    """Return the resident memory of this process, 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
