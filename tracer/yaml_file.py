"""A YAML file that people wrote: where it is wrong and why, and nothing of what it says, which may be a secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from hypocenter.errors import ConfigError

# What PyYAML repeats of the file: a password may begin with *, & or !.
_REPEATED = re.compile(r"""(alias|anchor|handle|tag) (['"]).*\2""")


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds, None of an empty one.

    Raises ConfigError, with the place and the reason and no line of the file.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: byte {error.start + 1} is not UTF-8; save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: expected YAML: {_told(error)}") from None
    except ValueError:  # of a scalar: 2026-13-01
        raise ConfigError(f"{path}: expected YAML: a value looks like a date and is none; put it in quotes") from None


def _told(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        place = f"line {mark.line + 1}, column {mark.column + 1}"
    else:
        place = f"character {getattr(error, 'position', 0) + 1}"
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
    return f"{place}: " + _REPEATED.sub(r"\1", reason)
