"""What a long-lived process does with memory that it no longer needs."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Final

import pyarrow as pa

MIB: Final = 1 << 20
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_MMAP_THRESHOLD: Final = 32 * MIB


def keep_for_reuse(size_bytes: int) -> None:
    """Let this process keep up to about so much freed memory, for work that needs as much again at once.

    Each page that the system takes back it must clear when it gives it again, which costs a process that decodes
    request after request a tenth of its time. Arrow allocates by malloc from then on, which knows this bound.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_TRIM_THRESHOLD, size_bytes)
        pa.set_memory_pool(pa.system_memory_pool())


def give_back() -> None:
    """Give freed memory back to the system, for a process that sleeps until its next work."""
    pa.default_memory_pool().release_unused()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library, None where it is not the one whose settings are meant."""
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
