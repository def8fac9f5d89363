"""What of a condition in SQL the reader of Parquet can test itself, so that fewer rows are made into tables."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

_TESTS: dict[type[exp.Expr], Callable[[Any, Any], Any]] = {
    exp.EQ: operator.eq,
    exp.NEQ: operator.ne,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
}


def pushed_down(condition: exp.Expr, schema: pa.Schema) -> pc.Expression | None:
    """Return a test that every row of the condition passes, and few others; None when it has no such part.

    Of parts joined by AND it takes those that compare a column of text or integers with a constant.

    >>> import sqlglot
    >>> schema = pa.schema([("service", pa.string()), ("duration_ns", pa.int64())])
    >>> pushed_down(sqlglot.parse_one("service = 'cart' AND (duration_ns > 2e8 AND name LIKE 'a%')"), schema)
    <pyarrow.compute.Expression ((service == "cart") and (duration_ns > 200000000))>
    """
    found: pc.Expression | None = None
    for part in _joined(condition):
        test = _test(part, schema)
        if test is not None:
            found = test if found is None else found & test
    return found


def _joined(condition: exp.Expr) -> list[exp.Expr]:
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        return [*_joined(condition.left), *_joined(condition.right)]
    return [condition]


def _test(part: exp.Expr, schema: pa.Schema) -> pc.Expression | None:
    compared = _TESTS.get(type(part))
    if compared is None or not isinstance(part, exp.Binary):
        return None
    column, constant = part.left.unnest(), part.right.unnest()
    if not isinstance(column, exp.Column) or len(column.parts) != 1 or not isinstance(constant, exp.Literal):
        return None
    kind = schema.field(column.name).type
    if constant.is_string:
        return compared(pc.field(column.name), constant.this) if pa.types.is_string(kind) else None
    number = float(constant.this)
    # Beyond 2^53 a float is no longer the number that was written.
    if not pa.types.is_integer(kind) or not number.is_integer() or abs(number) > 2**53:
        return None
    return compared(pc.field(column.name), pa.scalar(int(number), kind))
