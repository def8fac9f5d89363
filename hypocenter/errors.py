"""The exceptions hypocenter raises on purpose; every message names what was expected, what came, and the remedy."""


class HypocenterError(Exception):
    """Base of every error that a user can cause and mend."""


class DecodeError(HypocenterError):
    """A file or batch cannot be decoded; ``source`` and ``place`` (line, offset or item) say where."""

    def __init__(self, source: str, place: str, reason: str) -> None:
        super().__init__(f"{source}: {place}: {reason}")
        self.source, self.place, self.reason = source, place, reason


class SourceError(HypocenterError):
    """A path, server or store cannot be read; ``retryable`` tells whether trying again may help."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class Overloaded(SourceError):
    """More comes in than can be made durable in time; try again after ``retry_after_s``."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message, retryable=True)
        self.retry_after_s = retry_after_s


class ConfigError(HypocenterError):
    """A configuration names a setting that does not exist, or gives one a value that it cannot have."""


class GraphError(HypocenterError):
    """Telemetry cannot be turned into a graph, e.g. a window that ends before it starts."""


class CaseError(HypocenterError):
    """An incident description is incomplete or contradicts itself."""


class RankerError(HypocenterError):
    """A ranking method failed on a case."""


class NotApplicable(RankerError):
    """A ranking method lacks an input it requires; recorded as such, never dropped from a denominator."""


class ConvergenceError(RankerError):
    """An iterative method did not converge within its bound."""


class DeliveryError(HypocenterError):
    """A notification could not be delivered."""
