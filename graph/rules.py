"""What spans and calls mean, decided once for every combination of the facts that the rules in ``graph/sql`` read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.semconv import KIND_PRODUCER

from . import grouping
from .operations import OTHER, kept_operations
from .queries import Run

Ints = np.ndarray
Flags = np.ndarray

# How a parent is related to its span, and the sides that a span may be, as the SQL numbers them.
ROOT, MISSING_PARENT, SAME_SERVICE, OTHER_SERVICE = range(4)
_RELATIONS, _SIDES = 4, 12
_ARRIVALS = _SIDES * _RELATIONS * (_SIDES + 1) * 2
_FURTHER = _ARRIVALS + _SIDES

# What the rules give every caller that no span tells.
EXTERNAL = "external"
_TEXTS = ("namespace", "version", "environment", "cluster", "pod", "instance", "node", "operation")
_PLACE = ("side", "relation", "parent_side", "is_repeat")


@dataclass(frozen=True, slots=True)
class Rules:
    """The verdicts on every stand of a span and every call, and the profiles of spans that they are about.

    ``profiles`` has a row per profile in the order of their numbers; its texts are codes of ordered dictionaries (of
    one dictionary for services and peers, both being ends of calls), so that rows are compared without their texts.
    ``class_of`` numbers all that rules read of a profile, ``service_of`` its service, ``operation_of`` its operation,
    also those that ``profiles`` names alike. ``rank`` is its place by content, since numbers depend on the order in
    which spans came.
    """

    profiles: pa.Table
    class_of: Ints
    service_of: Ints
    operation_of: Ints
    rank: Ints
    _stands: pa.Table
    _calls: pa.Table
    _call_rows: Ints

    @classmethod
    def of(cls, run: Run, profiles: pa.Table, *, fold_operations: bool = False) -> Rules:
        """Return the rules for `hypocenter.graph.profiles.Profiles.table`; ``run`` runs the named queries.

        ``fold_operations`` names operations that rollups do not tell apart alike, judged by the spans of all profiles.
        """
        table = run("prepared", {"raw": profiles})
        operation_of, _ = grouping.codes(table.column("operation"))
        if fold_operations:
            kept = pa.array(kept_operations(table))
            folded = pc.if_else(kept, table.column("operation"), OTHER)
            table = table.set_column(table.schema.get_field_index("operation"), "operation", folded)
        read = {
            "part": table.column("part"),
            "aside": table.column("aside"),
            "has_peer": table.column("peer").is_valid(),
        }
        class_of, classes = grouping.group(read)
        stands = run("stands", {"classes": pa.table({"class": np.arange(len(classes["part"])), **classes})})
        calls = run("calls", {})
        places = [calls.column(name).cast(pa.int64()).fill_null(-1).to_numpy() for name in _PLACE]
        call_rows = np.zeros(_FURTHER + _ARRIVALS, np.int64)
        at = np.where(places[1] >= 0, _arrival(*places), _ARRIVALS + places[0])
        at += np.where(calls.column("is_further").to_numpy(), _FURTHER, 0)
        call_rows[at] = np.arange(len(calls))
        table = _with_codes(table)
        service_of = table.column("service").combine_chunks().indices.to_numpy()
        return cls(table, class_of, service_of, operation_of, _places_by_content(profiles), stands, calls, call_rows)

    def stand(self, profile: Ints, relation: Ints, has_remote_child: Flags, is_answered: Flags) -> Ints:
        """Return the number of each span's stand, the row of its verdict."""
        found: Ints = ((self.class_of[profile] * _RELATIONS + relation) * 2 + has_remote_child) * 2 + is_answered
        return found

    def of_stands(self, name: str) -> np.ndarray:
        """Return a column of the verdicts on stands."""
        found: np.ndarray = self._stands.column(name).to_numpy()
        return found

    def arrivals(
        self, stand: Ints, parent_stand: Ints, has_parent: Flags, is_repeat: Flags, linked: Ints
    ) -> tuple[Ints, Ints, Ints, Ints]:
        """Return the rows of the verdicts on the calls that arrive: one each, and one for each further message.

        ``linked`` counts the messages that span links name, that of the parent left out. Then comes the position of the
        span that each further message arrived in, and which of its linked messages each call of both kinds is about,
        -1 for none.
        """
        side = self._sides()
        parent_side = np.where(has_parent, side[parent_stand], -1)
        place = _arrival(side[stand], self.of_stands("relation")[stand], parent_side, is_repeat)
        found: Ints = self._call_rows[place]
        consuming = np.flatnonzero(linked)
        consuming = consuming[self._call_flags("is_consumed")[found[consuming]]]
        # Without a message from its parent, the span is a side of the first that it links.
        own = np.where(self._call_flags("is_queued")[found[consuming]], 0, 1)
        message = np.full(len(found), -1)
        message[consuming[own > 0]] = 0
        more = linked[consuming] - own
        further = np.repeat(consuming, more)
        numbers = np.arange(len(further)) - np.repeat(np.cumsum(more) - more - own, more)
        return found, self._call_rows[_FURTHER + place[further] // 2 * 2], further, np.append(message, numbers)

    def departures(self, stand: Ints) -> Ints:
        """Return the row of the verdict on each call that nothing answers."""
        found: Ints = self._call_rows[_ARRIVALS + self._sides()[stand]]
        return found

    @property
    def is_sender(self) -> Flags:
        """Whether the spans of each profile send messages that a consumer may link; *create* spans stand for them."""
        part, aside = (self.profiles.column(name) for name in ("part", "aside"))
        found: Flags = (part.to_numpy() == KIND_PRODUCER) | pc.equal(aside, "messaging-create").fill_null(
            False
        ).to_numpy()
        return found

    def visits(self, stand: Ints, profile: Ints) -> pa.Table:
        """Return all that is known of visits but their numbers."""
        verdicts, profiles = self._stands.take(pa.array(stand)), self.profiles.take(pa.array(profile))
        return pa.table({name: table.column(name) for table in (profiles, verdicts) for name in table.column_names})

    def calls(self, call: Ints, caller: Ints, callee: Ints, is_sent: Flags) -> pa.Table:
        """Return all that is known of calls but their numbers, given the profiles of both spans (none: negative).

        ``is_sent`` tells whether it is known by a span link when the message was sent.
        """
        verdicts = self._calls.take(pa.array(call))
        flag = {name: verdicts.column(name).to_numpy() for name in ("has_client", "has_server", "is_arrival")}
        callers = self.profiles.take(pa.array(caller, mask=caller < 0))
        callees = self.profiles.take(pa.array(callee))
        ends = {"caller": callers.column("service"), "callee": callees.column("service")}
        ends |= {"peer of caller": callers.column("peer"), "peer of callee": callees.column("peer")}
        is_error, is_timeout = (self.profiles.column(name).to_numpy() for name in ("is_error", "is_timeout"))
        failed = np.maximum(caller, 0)
        client_error, server_error = flag["has_client"] & is_error[failed], flag["has_server"] & is_error[callee]
        # What the client got counts, else what the server sent.
        answers = self.profiles.column("http_class").to_numpy()
        answer = np.where(flag["has_client"] & (answers[failed] > 0), answers[failed], answers[callee])
        answer = np.where(client_error | server_error, answer, 0)
        return pa.table(
            {
                "caller": _chosen(verdicts.column("caller"), ends),
                "caller_kind": verdicts.column("caller_kind"),
                "callee": _chosen(verdicts.column("callee"), ends),
                "callee_kind": pc.coalesce(verdicts.column("callee_kind"), callees.column("peer_kind")),
                "client_operation": _only(callers.column("operation"), flag["has_client"]),
                "operation": callees.column("operation"),
                "caller_pod": callers.column("pod"),
                "callee_pod": _only(callees.column("pod"), flag["is_arrival"]),
                "has_caller": caller >= 0,
                "client_error": client_error,
                "is_timeout": client_error & is_timeout[failed],
                "server_error": server_error,
                "http_4xx": answer == 4,
                "http_5xx": answer == 5,
                "is_queued": verdicts.column("is_queued").to_numpy() | is_sent,
                **{name: verdicts.column(name) for name in ("has_client", "has_server", "matched")},
            }
        )

    def _call_flags(self, name: str) -> Flags:
        found: Flags = self._calls.column(name).to_numpy()
        return found

    def _sides(self) -> Ints:
        found: Ints = self.of_stands("kind").astype(np.int64) * 2 + self.of_stands("has_peer")
        return found


def _arrival(side: Ints, relation: Ints, parent_side: Ints, is_repeat: Flags) -> Ints:
    found: Ints = ((side * _RELATIONS + relation) * (_SIDES + 1) + parent_side + 1) * 2 + is_repeat
    return found


def _places_by_content(profiles: pa.Table) -> Ints:
    names = [name for name in profiles.column_names if name not in ("profile", "spans")]
    order = pc.sort_indices(profiles, sort_keys=[(name, "ascending") for name in names]).to_numpy()
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def _with_codes(table: pa.Table) -> pa.Table:
    """Return ``table`` with its texts as codes of ordered dictionaries."""
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    ends = pa.concat_arrays([columns["service"], columns["peer"], pa.array([EXTERNAL])])
    codes, names = grouping.codes(ends)
    rows = len(table)
    columns |= {"service": _as_codes(codes[:rows], names), "peer": _as_codes(codes[rows : 2 * rows], names)}
    columns |= {name: _as_codes(*grouping.codes(columns[name])) for name in _TEXTS}
    return pa.table(columns)


def _as_codes(codes: Ints, names: pa.Array) -> pa.DictionaryArray:
    """Return texts by their codes, ``len(names)`` being null."""
    indices = pa.array(codes.astype(np.int32), mask=codes == len(names))
    return pa.DictionaryArray.from_arrays(indices, names, ordered=True)


def _only(column: pa.ChunkedArray, known: Flags) -> pa.DictionaryArray:
    """Return a column of codes with nulls where it is not known."""
    whole = column.combine_chunks()
    indices = pc.if_else(pa.array(known), whole.indices, None)
    return pa.DictionaryArray.from_arrays(indices, whole.dictionary, ordered=True)


def _chosen(choice: pa.ChunkedArray, ends: Mapping[str, pa.ChunkedArray]) -> pa.DictionaryArray:
    """Return from each row the end that ``choice`` names, codes of one dictionary; other texts stand for themselves."""
    names = ends["caller"].combine_chunks().dictionary
    chosen = pc.index_in(choice, names).to_numpy()
    for name, column in ends.items():
        codes = column.combine_chunks().indices.fill_null(0).to_numpy()
        chosen = np.where(pc.equal(choice, name).to_numpy(), codes, chosen)
    return pa.DictionaryArray.from_arrays(pa.array(chosen.astype(np.int32)), names, ordered=True)
