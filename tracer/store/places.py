"""Places as people write them: a path, a ``file://`` URL of this machine, or a URL of object storage."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hypocenter.errors import SourceError

SCHEME = "s3://"
# One slash is left where a URL went through a Path; one letter is a drive.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")


def text_of(place: Path | str) -> str:
    """Return a place as it was written, also where a URL of object storage was made a path.

    >>> text_of(Path("s3://bucket/telemetry"))
    's3://bucket/telemetry'
    """
    return re.sub(r"\As3:/+", SCHEME, str(place))


def is_remote(place: Path | str) -> bool:
    """Tell whether ``place`` is a URL of object storage."""
    return text_of(place).startswith(SCHEME)


def path_of(place: Path | str) -> Path:
    """Return the path on this machine that a path or a ``file://`` URL names.

    Raises SourceError for another URL: a folder named after it is not what was meant.

    >>> path_of("file:///var/lib/my%20store"), path_of("telemetry")
    (PosixPath('/var/lib/my store'), PosixPath('telemetry'))
    """
    text = str(place)
    scheme = _URL.match(text)
    if scheme is None:
        return Path(text)
    if scheme[1].lower() == "file":
        url = urlsplit(text)
        if url.netloc not in ("", "localhost"):
            raise SourceError(f"{text}: names another machine, {url.netloc}; expected file:///PATH or a path")
        return Path(unquote(url.path))
    raise SourceError(f"{text_of(place)}: expected a path of this machine, or file:///PATH")
