"""The workload a pod belongs to, from its name alone."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

# A ReplicaSet's hash is a decimal number in the letters bcdf456789, a pod's suffix five letters of Kubernetes' safe
# alphabet: anything looser takes the last words of a name such as ts-order-service for hashes.
_HASHES = "-[bcdf456789]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}$"


def deployment(pods: pa.Array) -> pa.Array:
    """Return each pod's deployment: the name without its two hashes; a name without them stays whole.

    >>> deployment(pa.array(["cart-579f59597d-wc2lz", "ts-order-service", "mysql-0", None])).to_pylist()
    ['cart', 'ts-order-service', 'mysql-0', None]
    """
    return pc.replace_substring_regex(pods, _HASHES, "")
