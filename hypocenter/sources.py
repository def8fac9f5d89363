"""Live servers as a session: what they hold of a window is pulled into a store that goes with the process."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .moments import Moment
    from .session import Session

# An address, or a mapping with `url` and the keys of the collector's configuration.
Server: TypeAlias = "str | Mapping[str, Any]"


def open_live(
    since: Moment = "-1h",
    until: Moment = "now",
    *,
    prometheus: Server | None = None,
    jaeger: Server | None = None,
    tempo: Server | None = None,
    zipkin: Server | None = None,
    alertmanager: Server | None = None,
    store: Path | str | None = None,
) -> Session:
    """Return a session on what servers hold of a window, pulled now.

    Parameters
    ----------
    since, until
        The window; relative texts count from now.
    prometheus, jaeger, tempo, zipkin, alertmanager
        An address, or a mapping with ``url``, credentials and what to ask (docs/howto/pull.md).
    store
        Where it is kept; pulling into it again adds what is new. None: a temporary folder, removed with the session.

    Raises
    ------
    SourceError
        No server is named, or one cannot be reached, refuses or is not what it was called.
    CaseError
        ``since`` does not lie before ``until``.
    """
    from .errors import CaseError, SourceError
    from .moments import moment_ns
    from .session import Session
    from .tracer.pull import fetcher
    from .tracer.pull.settings import Settings
    from .tracer.pull.stored import store_new
    from .tracer.store import Store
    from .tracer.window import Window

    named = {
        "prometheus": prometheus,
        "jaeger": jaeger,
        "tempo": tempo,
        "zipkin": zipkin,
        "alertmanager": alertmanager,
    }
    asked = [Settings.of(kind, section) for kind, section in named.items() if section is not None]
    if not asked:
        raise SourceError("no server is named; say prometheus=, jaeger=, tempo=, zipkin= or alertmanager=")
    try:
        window = Window(moment_ns(since), moment_ns(until))
    except ValueError as error:
        raise CaseError(f"since must lie before until; got since={since!r}, until={until!r}: {error}") from error
    temporary = tempfile.TemporaryDirectory(prefix="hypocenter-live-") if store is None else None
    opened = Store(temporary.name if temporary else str(store), create=True)
    try:
        for settings in asked:
            fetch, base = fetcher(settings)
            store_new(opened, base, window, fetch(window))
    except BaseException:
        if temporary:
            temporary.cleanup()
        raise
    session = Session(opened)
    if temporary:
        weakref.finalize(session, temporary.cleanup)
    return session
