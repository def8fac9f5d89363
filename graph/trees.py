"""The trees that spans form: which copies to keep, who is whose parent, and the time that is a span's own.

Spans are arrays here, a value per span, and a relative is a position in them (-1: none). All traces are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from .compact import Compact
from .ordering import Ints, ordered, runs

Flags = npt.NDArray[np.bool_]

# Comparing each sibling with each is not worth its cost beyond.
MAX_COMPARED_SIBLINGS = 100


def identities(rows: Compact) -> tuple[Ints, Ints]:
    """Return a number per span and per parent id, equal where trace id and span id are; -1 for no parent id.

    Numbers follow the order of the spans: where all spans are distinct, the number is the position.
    """
    named = np.flatnonzero(rows.has_parent_id)
    multiple = rows.trace * np.uint64(0x9E3779B97F4A7C15)
    spans = np.concatenate([rows.span, rows.parent[named]])
    # The sum keeps the spans of one trace apart; two traces may clash, which is seen and mended.
    # The hint spares the hash table its growth.
    codes, distinct = pd.factorize(spans + np.concatenate([multiple, multiple[named]]), size_hint=len(rows))
    example = np.empty(len(distinct), np.int64)
    example[codes] = np.arange(len(codes))
    same, rest = example[codes], np.concatenate([rows.trace_rest, rows.trace_rest[named]])
    # An odd multiple tells all 64-bit traces apart, so equal sums of equal spans are of one.
    if (spans[same] != spans).any() or (rest[same] != rest).any():
        traces = np.concatenate([rows.trace, rows.trace[named]])
        codes = np.unique(np.column_stack([traces, rest, spans]), axis=0, return_inverse=True)[1].reshape(-1)
        codes, _ = pd.factorize(codes)
    parents = np.full(len(rows), -1, np.int64)
    parents[named] = codes[len(rows) :]
    return codes[: len(rows)], parents


def copies(identity: Ints, is_client: Flags, order: Callable[[Ints], Sequence[np.ndarray]]) -> Flags:
    """Tell which spans are copies: exports are retried, the first of each side of an identity stays.

    ``order`` gives the sort keys of spans at positions.
    """
    is_copy = np.zeros(len(identity), bool)
    if _are_distinct(identity):
        return is_copy
    repeated = np.flatnonzero(np.bincount(identity)[identity] > 1)
    ranked = np.lexsort([*reversed(order(repeated)), is_client[repeated], identity[repeated]])
    ranked = repeated[ranked]
    same = (identity[ranked][1:] == identity[ranked][:-1]) & (is_client[ranked][1:] == is_client[ranked][:-1])
    is_copy[ranked[1:][same]] = True
    return is_copy


def parents(identity: Ints, parent_identity: Ints, is_client: Flags, service: Ints) -> Ints:
    """Return the position of each span's parent, -1 for none; copies are already gone.

    Where the client and the server side of a call share an id (Zipkin), the client side is the parent of the server
    side; what names that id as its parent belongs to the server side, unless only the client side is of its service.
    """
    if _are_distinct(identity):
        is_known = (parent_identity < len(identity)) & (parent_identity != identity)
        return np.where(is_known, parent_identity, -1)
    size = int(max(identity.max(initial=-1), parent_identity.max(initial=-1))) + 1
    client, other = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
    at = np.arange(len(identity))
    client[identity[is_client]] = at[is_client]
    other[identity[~is_client]] = at[~is_client]
    known = parent_identity >= 0
    found_client = np.where(known, client[parent_identity], -1)
    found_other = np.where(known, other[parent_identity], -1)
    of_client = (found_client >= 0) & (
        (found_other < 0) | ((service[found_client] == service) & (service[found_other] != service))
    )
    parent = np.where(of_client, found_client, found_other)
    parent[parent_identity == identity] = -1
    shared = np.flatnonzero(~is_client & (client[identity] >= 0))
    parent[shared] = client[identity[shared]]
    return parent


def _are_distinct(identity: Ints) -> bool:
    """Tell whether numbers in the order of the spans are their positions."""
    return bool(len(identity) == 0 or (identity[-1] == len(identity) - 1 and (identity[1:] > identity[:-1]).all()))


def later_of_each(parent: Ints, among: Ints, order: tuple[np.ndarray, ...]) -> Flags:
    """Tell for each span of ``among`` whether it is not the first in ``order`` of those below its parent."""
    ranked = ordered(parent[among], *(key[among] for key in order))
    is_later = np.zeros(len(among), bool)
    is_later[ranked[1:]] = parent[among][ranked][1:] == parent[among][ranked][:-1]
    return is_later


def exclusive_time(parent: Ints, start_ns: Ints, duration_ns: Ints, is_in_process: Flags) -> Ints:
    """Return each duration less the time that children cover, in nanoseconds.

    Siblings that lie within a longer in-process sibling count as its children too: a gateway's handler returns before
    the call that it started, and both hang below the same span.
    """
    end_ns = start_ns + duration_ns
    child = np.flatnonzero(parent >= 0)
    above = parent[child]
    begin, finish = np.maximum(start_ns[child], start_ns[above]), np.minimum(end_ns[child], end_ns[above])
    siblings = np.bincount(above, minlength=len(parent))
    # Two intervals at most need no sorting: their lengths less what they share.
    covered = np.zeros(len(parent), np.int64)
    np.add.at(covered, above, np.maximum(0, finish - begin))
    two = np.flatnonzero(siblings[above] == 2)
    if len(two):
        last, first = np.full(len(parent), np.iinfo(np.int64).min), np.full(len(parent), np.iinfo(np.int64).max)
        np.maximum.at(last, above[two], begin[two])
        np.minimum.at(first, above[two], finish[two])
        pairs = np.flatnonzero(siblings == 2)
        covered[pairs] -= np.maximum(0, first[pairs] - last[pairs])
    adopter, adopted = _adopted(child, above, siblings, start_ns, end_ns, is_in_process)
    by_union = siblings > 2
    by_union[adopter] = True
    own = np.flatnonzero(by_union[above])
    _cover(
        covered,
        np.concatenate([above[own], adopter]),
        np.concatenate([begin[own], start_ns[adopted]]),
        np.concatenate([finish[own], end_ns[adopted]]),
    )
    return duration_ns - covered


def _adopted(
    child: Ints, above: Ints, siblings: Ints, start_ns: Ints, end_ns: Ints, is_in_process: Flags
) -> tuple[Ints, Ints]:
    """Return pairs of an in-process span and a sibling within it."""
    in_families = np.bincount(above[is_in_process[child]], minlength=len(siblings)) > 0
    few = np.flatnonzero(in_families[above] & (siblings[above] > 1) & (siblings[above] <= MAX_COMPARED_SIBLINGS))
    order = few[ordered(above[few], start_ns[child[few]], -end_ns[child[few]])]
    span, family = child[order], above[order]
    # What encloses some sibling reaches the start of the next one; all that it may enclose come after it.
    reaches = (family[1:] == family[:-1]) & (start_ns[span[1:]] <= end_ns[span[:-1]])
    candidate = np.flatnonzero(reaches & is_in_process[span[:-1]])
    first = runs(family)
    end_of_family = np.append(first, len(span))[np.searchsorted(first, candidate, "right")]
    following = end_of_family - candidate - 1
    offset = np.arange(following.sum()) - np.repeat(np.cumsum(following) - following, following)
    a, b = span[np.repeat(candidate, following)], span[np.repeat(candidate, following) + 1 + offset]
    within = (
        (start_ns[a] <= start_ns[b]) & (end_ns[b] <= end_ns[a]) & (end_ns[b] - start_ns[b] < end_ns[a] - start_ns[a])
    )
    return a[within], b[within]


def _cover(covered: Ints, owner: Ints, begin: Ints, finish: Ints) -> None:
    """Set the length of the union of each owner's intervals."""
    ranked = ordered(owner, begin)
    owner, begin, finish = owner[ranked], begin[ranked], np.maximum(begin, finish)[ranked]
    reached = pd.Series(finish).groupby(owner, sort=False).cummax().to_numpy()
    is_first = np.ones(len(owner), bool)
    is_first[1:] = owner[1:] != owner[:-1]
    before = np.where(is_first, begin, np.roll(reached, 1))
    # What begins before the furthest end so far adds only its rest.
    added = np.maximum(0, finish - np.maximum(begin, before))
    covered[owner[is_first]] = np.add.reduceat(added, np.flatnonzero(is_first))
