"""Log templates that appear or multiply in a service, for logs that carry no trace context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...tracer.log_templates import templates
from ..onset import Split
from .bayes import log_bayes_factor, log_mean_exp_by
from .finding import Told
from .visits import Clock, keys_of, running

_MIN_LINES = 20
# Steps of a log are not independent: a burst fills several of them.
_STEPS_PER_TRIAL = 2.0


class LogVolume:
    """Services that write lines which they did not write before, or write in more steps of time than before."""

    kind: ClassVar[str] = "log volume"

    def __init__(self, clock: Clock, quiet: pa.Table, incident: pa.Table, services: Sequence[str]) -> None:
        self._services = list(services)
        bare_quiet, bare = (t.filter(pc.is_null(t["span_id"])) for t in (quiet, incident))
        self._clock = clock
        logs = pa.concat_tables([bare_quiet, bare])
        encoded = templates(logs["body"]).dictionary_encode() if logs.num_rows else None
        names = {s: i for i, s in enumerate(services)}
        owner = np.array([names.get(s, -1) for s in logs["service"].to_pylist()], "i8")
        self._names = encoded.dictionary.to_pylist() if encoded is not None else []
        item = encoded.indices.to_numpy(zero_copy_only=False).astype("i8") if encoded is not None else owner
        time = logs["time_ns"].to_numpy()
        step = (time - clock.start_ns) // clock.step_ns
        inside = (step >= 0) & (step < clock.n_steps)
        n_quiet = bare_quiet.num_rows
        quiet_step = (time[:n_quiet] - time[:n_quiet].min(initial=0)) // clock.step_ns if n_quiet else step[:0]
        column = np.where(inside, step + 1, -1)
        column[:n_quiet] = 0
        slot = np.where(column > 0, column, 0)
        slot[:n_quiet] = -1 - quiet_step
        kept = (column >= 0) & (owner >= 0)
        key, first = keys_of(owner[kept], item[kept])
        # A step of time shows a template once, however often it is written in it.
        _, once = keys_of(key, slot[kept])
        width = 1 + clock.n_steps
        hits = np.bincount(key[once] * width + column[kept][once], minlength=len(first) * width)
        self._hits = running(hits.reshape(-1, width))
        trials = np.ones((1, width))
        trials[0, 0] = float(quiet_step.max(initial=-1)) + 1
        self._trials = running(trials)
        self._service, self._item = owner[kept][first], item[kept][first]
        written = int((column[n_quiet:] > 0).sum())
        self.not_checked = None if written >= _MIN_LINES else f"{written} log lines without trace context"

    def _tests(self, split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (nats, share of steps before, share now) by test; 0 nats where it does not rise."""
        quiet, before, after = self._clock.parts(self._hits, split)
        quiet_n, before_n, after_n = (float(x[0]) for x in self._clock.parts(self._trials, split))
        n, hits = quiet_n + before_n, quiet + before
        if n <= 0 or after_n <= 0:
            zero = np.zeros(len(quiet))
            return zero, zero, zero
        scale = 1 / _STEPS_PER_TRIAL
        factor = log_bayes_factor(
            hits * scale, np.full(len(hits), n * scale), after * scale, np.full(len(hits), after_n * scale)
        )
        share, now = hits / n, after / after_n
        return np.where(now > share, factor, 0.0), share, now

    def score(self, split: Split) -> np.ndarray:
        """Return, by service, the Bayes factor that its templates show in more steps of time than before."""
        if not len(self._service):
            return np.zeros(len(self._services))
        nats, _, _ = self._tests(split)
        return np.asarray(np.maximum(log_mean_exp_by(nats, self._service, len(self._services)), 0.0))

    def tell(self, split: Split, service: int) -> Told:
        """Name the template that rose most."""
        nats, share, now = self._tests(split)
        best = int(np.argmax(np.where(self._service == service, nats, -np.inf)))
        text = (
            f"writes “{self._names[self._item[best]]}” in {share[best]:.0%} of time steps before, {now[best]:.0%} now"
        )
        return Told(text, self._services[service], indicator="code")
