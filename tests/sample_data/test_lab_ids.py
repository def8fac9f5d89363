"""Ids numbered anew: who belongs to whom stays."""

import pyarrow as pa

from hypocenter.tracer.schema import SIGNALS
from sample_data.lab.ids import numbered


def tables() -> tuple[pa.Table, pa.Table]:
    def span(trace: str, own: str, parent: str | None, links: list[dict[str, str]] | None = None) -> dict[str, object]:
        required = {f.name: 0 if pa.types.is_integer(f.type) else "x" for f in SIGNALS["spans"] if not f.nullable}
        return required | {"trace_id": trace, "span_id": own, "parent_span_id": parent, "links": links}

    spans = [
        span("f0" * 16, "aa" * 8, None),
        span("f0" * 16, "bb" * 8, "aa" * 8),
        span("0d" * 16, "cc" * 8, "99" * 8, [{"trace_id": "f0" * 16, "span_id": "bb" * 8}]),
    ]
    logs = [
        {"time_ns": 1, "body": "x", "source": "x", "trace_id": "0d" * 16, "span_id": "cc" * 8},
        {"time_ns": 2, "body": "x", "source": "x", "trace_id": None, "span_id": None},
    ]
    return pa.Table.from_pylist(spans, SIGNALS["spans"]), pa.Table.from_pylist(logs, SIGNALS["logs"])


def test_ids_count_from_one_and_parents_links_and_logs_follow() -> None:
    spans, logs = numbered(*tables())
    assert spans["trace_id"].to_pylist() == [f"{n:032x}" for n in (1, 1, 2)]
    assert spans["span_id"].to_pylist() == [f"{n:016x}" for n in (1, 2, 3)]
    # A parent that was not recorded keeps a number of its own.
    assert spans["parent_span_id"].to_pylist() == [None, f"{1:016x}", f"{4:016x}"]
    assert spans["links"].to_pylist()[2] == [{"trace_id": f"{1:032x}", "span_id": f"{2:016x}"}]
    assert logs.select(["trace_id", "span_id"]).to_pylist() == [
        {"trace_id": f"{2:032x}", "span_id": f"{3:016x}"},
        {"trace_id": None, "span_id": None},
    ]


def test_everything_else_stays_as_it_is() -> None:
    before, after = tables(), numbered(*tables())
    ids = {"trace_id", "span_id", "parent_span_id", "links"}
    for old, new in zip(before, after, strict=True):
        assert new.schema == old.schema
        kept = [name for name in old.column_names if name not in ids]
        assert new.select(kept).equals(old.select(kept))
