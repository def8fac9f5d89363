"""The journal: what was accepted and is not delivered yet, in SQLite, durable before a sender hears 200."""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypocenter.errors import DeliveryError

T = TypeVar("T")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL,           -- idempotency key
  received_ns INTEGER NOT NULL,
  source TEXT NOT NULL,        -- alertmanager, grafana
  body BLOB NOT NULL,          -- as it came
  enrichment TEXT              -- JSON, of a follow-up
);
CREATE TABLE IF NOT EXISTS outbox (
  seq INTEGER NOT NULL REFERENCES messages (seq) ON DELETE CASCADE,
  sink TEXT NOT NULL,
  delivered_ns INTEGER,        -- null while it is not
  PRIMARY KEY (seq, sink)
);
CREATE INDEX IF NOT EXISTS pending ON outbox (seq) WHERE delivered_ns IS NULL;
CREATE INDEX IF NOT EXISTS by_key ON messages (key, received_ns);
CREATE TABLE IF NOT EXISTS incidents (id TEXT PRIMARY KEY, updated_ns INTEGER NOT NULL, body TEXT NOT NULL);
"""
# Delivered notifications are kept a while, to be looked up after an incident.
_KEEP_NS = 7 * 86_400 * 10**9
_MOST_IN_ONE_COMMIT = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted notification and the sinks that still wait for it."""

    seq: int
    key: str
    received_ns: int
    source: str
    body: bytes
    enrichment: dict[str, Any] | None
    sinks: tuple[str, ...]


class Journal:
    """One thread owns the database; what waits for the disk shares a commit. Close it to let the file go."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._queue: queue.SimpleQueue[tuple[Callable[[sqlite3.Connection], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(path, opened), name="journal", daemon=True)
        self._thread.start()
        opened.result()

    async def add(
        self, key: str, source: str, body: bytes, sinks: Iterable[str], enrichment: dict[str, Any] | None = None
    ) -> Entry:
        """Return the entry once it is on the disk; DeliveryError when it cannot be."""
        received, listed = time.time_ns(), tuple(sinks)
        extra = None if enrichment is None else json.dumps(enrichment)

        def write(db: sqlite3.Connection) -> int:
            row = (key, received, source, body, extra)
            sql = "INSERT INTO messages (key, received_ns, source, body, enrichment) VALUES (?, ?, ?, ?, ?)"
            seq = db.execute(sql, row).lastrowid
            db.executemany("INSERT INTO outbox (seq, sink) VALUES (?, ?)", [(seq, sink) for sink in listed])
            return int(seq or 0)

        seq = await self._do(write)
        return Entry(seq, key, received, source, body, enrichment, listed)

    async def delivered(self, seq: int, sink: str) -> None:
        """Note a confirmed delivery (or a dead letter, which is delivered to its folder)."""
        sql = "UPDATE outbox SET delivered_ns = ? WHERE seq = ? AND sink = ?"
        await self._do(lambda db: db.execute(sql, (time.time_ns(), seq, sink)) and None)

    async def pending(self) -> list[Entry]:
        """Return what a former process accepted and did not deliver, in order."""
        sql = (
            "SELECT m.seq, key, received_ns, source, body, enrichment, group_concat(sink, char(10)) FROM messages m"
            " JOIN outbox o USING (seq) WHERE delivered_ns IS NULL GROUP BY m.seq ORDER BY m.seq"
        )
        rows = await self._do(lambda db: db.execute(sql).fetchall())
        return [
            Entry(seq, key, at, source, body, json.loads(extra) if extra else None, tuple(sinks.split("\n")))
            for seq, key, at, source, body, extra, sinks in rows
        ]

    async def recent_keys(self, since_ns: int) -> dict[str, int]:
        """Return when the notifications of the last while were delivered to all sinks, by key; 0 while under way."""
        sql = (
            "SELECT key, min(ifnull(delivered_ns, 0)) FROM messages JOIN outbox USING (seq)"
            " WHERE received_ns >= ? AND enrichment IS NULL GROUP BY seq ORDER BY seq"
        )
        return dict(await self._do(lambda db: db.execute(sql, (since_ns,)).fetchall()))

    async def keep_incidents(self, bodies: dict[str, dict[str, Any]]) -> None:
        """Keep incidents by id, each replacing its former state."""
        rows = [(name, int(body["updated_ns"]), json.dumps(body)) for name, body in bodies.items()]
        sql = "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?)"
        await self._do(lambda db: db.executemany(sql, rows) and None)

    async def incidents(self, limit: int = 200) -> list[dict[str, Any]]:
        """Return the newest incidents, the latest updated first."""
        sql = "SELECT body FROM incidents ORDER BY updated_ns DESC LIMIT ?"
        return [json.loads(body) for (body,) in await self._do(lambda db: db.execute(sql, (limit,)).fetchall())]

    async def prune(self) -> None:
        """Forget notifications that were delivered long ago."""
        sql = (
            "DELETE FROM messages WHERE received_ns < ? AND NOT EXISTS"
            " (SELECT 1 FROM outbox o WHERE o.seq = messages.seq AND delivered_ns IS NULL)"
        )
        await self._do(lambda db: db.execute(sql, (time.time_ns() - _KEEP_NS,)) and None)

    def close(self) -> None:
        """Finish what is queued and close the database."""
        self._queue.put(None)
        self._thread.join()

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()  # a caller that goes away must not cancel what the disk may have already
        self._queue.put((work, done))
        try:
            return await asyncio.wrap_future(done)
        except sqlite3.Error as error:
            raise DeliveryError(f"the journal cannot be written: {error}") from error

    def _run(self, path: Path, opened: Future[None]) -> None:
        try:
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
            db.execute("PRAGMA foreign_keys = ON")
            db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            opened.set_exception(DeliveryError(f"{path}: the journal cannot be opened: {error}"))
            return
        opened.set_result(None)
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            while len(batch) < _MOST_IN_ONE_COMMIT and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    last = True
                    break
                batch.append(item)
            _commit(db, batch)
            if last:
                break
        db.close()


def _commit(db: sqlite3.Connection, batch: list[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]]) -> None:
    """Run the works in one transaction; none hears of success before the commit, and all of a failure."""
    try:
        db.execute("BEGIN IMMEDIATE")
        results = [work(db) for work, _ in batch]
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        for _, done in batch:
            done.set_exception(error)
        return
    for (_, done), result in zip(batch, results, strict=True):
        done.set_result(result)
