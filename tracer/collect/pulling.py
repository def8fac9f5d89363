"""Sources in threads of their own, each started again after a failure, its state told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from hypocenter.errors import HypocenterError

from .source import Sink, Source
from .telemetry import Telemetry

_log = logging.getLogger(__name__)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0


@dataclass(slots=True)
class _State:
    state: str = "running"
    error: str | None = None
    failures: int = 0


class Pulling:
    """Runs sources until `stop`."""

    def __init__(self, sources: Sequence[Source], sink: Sink, telemetry: Telemetry) -> None:
        self._sink = sink
        self._stop = threading.Event()
        self._sources = {source.name: source for source in sources}
        self._states = {name: _State() for name in self._sources}
        self._threads = [threading.Thread(target=self._run, args=(source,), daemon=True) for source in sources]
        telemetry.observe_sources(self.failures, self.failing)

    def start(self) -> None:
        """Start all."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Tell all to end, and wait for them for a while: one may hang on a server."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def facts(self) -> dict[str, dict[str, object]]:
        """Return the state of each source by name; one that tries again by itself is ``retrying``, not ``running``."""
        found: dict[str, dict[str, object]] = {}
        for name, source in self._sources.items():
            one, health = self._states[name], source.health()
            state = "retrying" if one.state == "running" and health.problem else one.state
            error = one.error if one.state == "waiting after a failure" else health.problem
            found[name] = {"state": state, "error": error, "failures": one.failures + health.failures, **health.more}
        return found

    def failures(self) -> dict[str, int]:
        """Return how often each source failed, whoever tried again."""
        return {name: self._states[name].failures + one.health().failures for name, one in self._sources.items()}

    def failing(self) -> dict[str, int]:
        """Return for each source 1 when it fails now, else 0."""
        return {name: int(fact["state"] not in ("running", "ended")) for name, fact in self.facts().items()}

    def _run(self, source: Source) -> None:
        state, wait_s = self._states[source.name], _FIRST_WAIT_S
        while not self._stop.is_set():
            try:
                source.run(self._sink, self._stop)
                state.state = "ended"
                return
            except Exception as error:  # noqa: BLE001  one source must not end the others, whatever it met
                state.failures += 1
                state.state, state.error = "waiting after a failure", str(error) or type(error).__name__
                _log.warning("%s: %s", source.name, state.error, exc_info=not isinstance(error, HypocenterError))
            self._stop.wait(wait_s)
            wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)
            state.state = "running"
        state.state = "ended"
