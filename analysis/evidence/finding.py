"""The interface of a kind of evidence: it is built once for a case and weighed at every split of the onset search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ..onset import Split


@dataclass(frozen=True, slots=True)
class Told:
    """What a kind of evidence says of one service: a sentence with figures, and the entity it points at.

    ``onset_ns`` is when it began where that is known better than by the split, ``command`` what to run next,
    ``operation`` the one operation that it points at, ``indicator`` what shows it (cpu, latency, network, code, ...).
    """

    text: str
    entity: str
    entity_kind: str = "service"
    onset_ns: int | None = None
    command: str | None = None
    operation: str | None = None
    indicator: str | None = None


class Evidence(Protocol):
    """A kind of evidence over the services of one case.

    ``not_checked`` is None when it could look, else the reason. Scores are in nats, 0 where nothing was found, higher
    incriminates; unknown is 0 as well, but is told by ``looked_at``.
    """

    kind: ClassVar[str]
    not_checked: str | None

    def score(self, split: Split) -> np.ndarray:
        """Return nats by service, shape (n_services,), in the order of the case's services."""
        ...

    def tell(self, split: Split, service: int) -> Told:
        """Return the strongest finding about a service that scores above 0 at this split."""
        ...
