"""hypocenter: from traces and metrics to where a failure began."""

__version__ = "0.1.0"
