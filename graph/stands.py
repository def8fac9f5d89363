"""The spans of whole traces without their copies, and how each stands to its parent and its children."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import trees
from .attempts import requests_of
from .compact import Compact
from .ordering import Ints
from .rules import MISSING_PARENT, OTHER_SERVICE, ROOT, SAME_SERVICE, Rules
from .trees import Flags


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans without their copies, a value per span: its parent (``above``: 0 for none) and its stand in the rules.

    ``kept`` are their positions among those given, ``copies`` the positions of the others; ``request`` is the position
    of the span that took up the request that a span is part of (`hypocenter.graph.attempts.requests_of`).
    """

    rows: Compact
    kept: Ints
    copies: Ints
    parent: Ints
    has_parent: Flags
    above: Ints
    stand: Ints
    request: Ints
    is_arrival: Flags
    is_repeat: Flags
    is_in_process: Flags

    @classmethod
    def of(cls, rows: Compact, rules: Rules) -> Spans:
        """Return how compact spans of whole traces stand by the rules."""
        is_client = np.isin(rules.profiles.column("part").to_numpy(), (3, 4))[rows.profile]
        identity, parent_identity = trees.identities(rows)
        is_copy = trees.copies(identity, is_client, lambda at: _content(rows.take(at), rules))
        kept, copies = np.arange(len(rows)), np.flatnonzero(is_copy)
        if len(copies):
            kept = np.flatnonzero(~is_copy)
            rows, is_client = rows.take(kept), is_client[kept]
            identity, parent_identity = identity[kept], parent_identity[kept]
        service = rules.service_of[rows.profile]
        parent = trees.parents(identity, parent_identity, is_client, service)
        has_parent, above = parent >= 0, np.maximum(parent, 0)
        absent = np.where(rows.has_parent_id, MISSING_PARENT, ROOT)
        relation = np.where(has_parent, np.where(service[above] == service, SAME_SERVICE, OTHER_SERVICE), absent)
        has_remote_child, no = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        has_remote_child[parent[relation == OTHER_SERVICE]] = True
        # Whether something arrives, and whether it answers, does not depend on its own children.
        alone = rules.stand(rows.profile, relation, no, no)
        is_arrival, is_answer = rules.of_stands("is_arrival")[alone], rules.of_stands("is_answer")[alone] & has_parent
        answers = np.bincount(parent[is_answer], minlength=len(rows))
        stand = rules.stand(rows.profile, relation, has_remote_child, answers > 0)
        is_repeat = np.zeros(len(rows), bool)
        several = np.flatnonzero(is_answer & (answers[above] > 1))
        if len(several):
            order = (rows.start_ns, rows.duration_ns, rows.span)
            is_repeat[several] = trees.later_of_each(parent, several, order)
        is_in_process = (rules.of_stands("kind")[stand] == 1) & (answers == 0)
        request = requests_of(parent, is_arrival | rules.of_stands("is_entry")[stand])
        return cls(rows, kept, copies, parent, has_parent, above, stand, request, is_arrival, is_repeat, is_in_process)


def _content(rows: Compact, rules: Rules) -> tuple[np.ndarray, ...]:
    """Return the keys by which copies of a span are sorted."""
    return rows.start_ns, rows.duration_ns, rules.rank[rows.profile], rows.adjusted_milli, rows.parent
