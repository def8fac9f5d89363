"""Mutations of example files: the same number always gives the same bytes, so that a failure can be run again.

A plain loop, because drawing an example by hypothesis costs more than reading it; hypothesis shrinks a few hundred.
"""

from __future__ import annotations

import io
import random
import re
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypocenter.errors import DecodeError
from hypocenter.tracer.batch import Batch, concat
from hypocenter.tracer.reader import Reader
from hypocenter.tracer.schema import SIGNALS
from hypocenter.tracer.source import Source, decompressed

# An input of a few KB takes milliseconds; processor time, so that a busy machine fails nothing.
CPU_LIMIT_S = 20.0
# What formats of text give a meaning, put in where it does not belong.
FRAGMENTS = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"=", b"#", b"\n", b"\r\n", b"\0", b"\xff", b"\xff" * 9),
    *(b"null", b"true", b"{}", b"[]", b'""', b"-1", b"0", b"1.5", b"1e99", b"1e999", b"NaN", b"9" * 25),
    *(b'"1"', b'"x"', b"[null]", b'{"a":[]}', b"\xef\xbb\xbf", b"\xf0\x9f\x92\xa5", b'"\\ud800"', b"[" * 300, bytes(8)),
]
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null|\{\}|\[\]')


@dataclass(frozen=True)
class Sample:
    """A file that a reader reads."""

    file_name: str
    content: bytes


def mutated(content: bytes, number: int) -> bytes:
    """Return ``content`` with one to four edits: bytes or values replaced, parts cut out, repeated, moved or put in."""
    chance = random.Random(number)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(content) + 1)
        until = min(len(content), at + chance.choice((1, 2, 8, 40)))
        match chance.randrange(10):
            case 0 | 1:
                byte = chance.choice((0, 0x7F, 0x80, 0xFF, chance.randrange(256)))
                content = content[:at] + bytes([byte]) + content[at + 1 :]
            case 2:
                content = content[:at] + content[until:]
            case 3:
                content = content[:until] + content[at:]
            case 4:
                content = content[:at] + chance.choice(FRAGMENTS) + content[at:]
            case 5 if chance.randrange(4) == 0:
                content = content[: max(at, 1)]
            case _:
                # Whole values, which keep the syntax and so reach what lies behind it.
                tokens = [token.span() for token in _TOKEN.finditer(content)]
                if tokens:
                    start, end = chance.choice(tokens)
                    other = slice(*chance.choice(tokens))
                    value = content[other] if chance.randrange(3) == 0 else chance.choice(FRAGMENTS)
                    content = content[:start] + value + content[end:]
    return content


def check_batch(batch: Batch) -> None:
    """Assert that the tables have the schemas of their signals and are whole."""
    for name, table in batch.tables.items():
        assert table.schema.equals(SIGNALS[name])
        table.validate(full=True)


def read_or_refuse(reader: Reader, file_name: str, content: bytes) -> None:
    """Read ``content`` as a file; anything but batches in the schemas or a DecodeError raises."""
    source = Source(file_name, decompressed(io.BytesIO(content)))
    assert isinstance(reader.matches(source.head(), source.file_name), bool)
    try:
        batch = concat(reader.read(source))
    except DecodeError:
        return
    check_batch(batch)


def try_mutations(name: str, samples: Sequence[Sample], numbers: range, attempt: Callable[[str, bytes], None]) -> None:
    """Call ``attempt(file_name, content)`` for a mutation a number, of the samples in turn.

    What goes wrong, or takes more than `CPU_LIMIT_S`, raises AssertionError that names the number and the file to which
    the input was written.
    """
    with _processor_alarm() as arm:
        for number in numbers:
            sample = samples[number % len(samples)]
            content = mutated(sample.content, number)
            arm(CPU_LIMIT_S)
            try:
                attempt(sample.file_name, content)
            except BaseException as error:
                arm(0)
                kept = Path(tempfile.gettempdir()) / f"hypocenter-fuzz-{name}-{number}"
                kept.write_bytes(content)
                message = f"{name}: mutation {number} of {sample.file_name} (written to {kept}): {error!r}"
                raise AssertionError(message) from error


@contextmanager
def _processor_alarm() -> Iterator[Callable[[float], Any]]:
    """Yield a function that lets TimeoutError be raised after so many seconds of processor time; 0 disarms."""

    def expire(*_: object) -> None:
        raise TimeoutError(f"more than {CPU_LIMIT_S:.0f} s of processor time")

    before = signal.signal(signal.SIGPROF, expire)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_PROF, seconds)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
