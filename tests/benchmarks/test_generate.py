"""Generated spans obey the rules of traces, and the same seed gives the same spans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from benchmarks.generate import span_tables, temporary_store
from hypocenter.errors import SourceError
from hypocenter.semconv import KIND_CLIENT, KIND_CONSUMER, KIND_PRODUCER, KIND_SERVER
from hypocenter.tracer.schema import SPANS


@pytest.fixture(scope="module")
def spans() -> pd.DataFrame:
    table = pa.concat_tables(span_tables(100_000, batch_rows=8192, rate_per_s=200))
    assert table.schema.equals(SPANS)
    table.validate(full=True)
    return table.drop_columns(["attributes", "resource", "links"]).to_pandas()


@pytest.fixture(scope="module")
def pairs(spans: pd.DataFrame) -> pd.DataFrame:
    """Return children beside their parents (columns of the parent with ``_above``)."""
    keys = {"left_on": ["trace_id", "parent_span_id"], "right_on": ["trace_id", "span_id"]}
    return spans.merge(spans, suffixes=("", "_above"), **keys)


def test_batches_have_the_asked_size_and_sum() -> None:
    assert [table.num_rows for table in span_tables(20_000, batch_rows=8192)] == [8192, 8192, 3616]


def test_same_seed_gives_the_same_spans_whatever_the_batch() -> None:
    small, large = (pa.concat_tables(span_tables(10_000, batch_rows=rows, seed=3)) for rows in (999, 10_000))
    assert small.equals(large)
    assert not small.equals(pa.concat_tables(span_tables(10_000, seed=4)))


def test_ids_are_unique_and_nearly_every_parent_is_there(spans: pd.DataFrame, pairs: pd.DataFrame) -> None:
    assert not spans.duplicated(["trace_id", "span_id"]).any()
    whole = spans[spans.start_ns < spans.start_ns.quantile(0.25)]
    children = whole[whole.parent_span_id.notna()]
    assert children.span_id.isin(pairs.span_id).mean() > 0.9
    assert (spans.parent_span_id.isna().sum() / spans.trace_id.nunique()) <= 1


def test_children_lie_within_their_parents_and_consumers_follow_their_producers(pairs: pd.DataFrame) -> None:
    follows = pairs.kind == KIND_CONSUMER
    assert (pairs.kind_above[follows] == KIND_PRODUCER).all()
    ends, ends_above = pairs.start_ns + pairs.duration_ns, pairs.start_ns_above + pairs.duration_ns_above
    assert (pairs.start_ns[follows] >= ends_above[follows]).all()
    assert ((pairs.start_ns >= pairs.start_ns_above) & (ends <= ends_above))[~follows].all()


def test_servers_answer_clients_of_other_services_in_one_process_each(pairs: pd.DataFrame) -> None:
    served = pairs[pairs.kind == KIND_SERVER]
    assert (served.kind_above == KIND_CLIENT).all()
    assert (served.service == served.peer_service_above).all()
    assert (served.service != served.service_above).all()
    local = pairs[~pairs.kind.isin([KIND_SERVER, KIND_CONSUMER])]
    assert (local.pod == local.pod_above).all()


def test_errors_travel_to_the_caller(pairs: pd.DataFrame) -> None:
    failed = pairs[(pairs.status == 2) & (pairs.kind != KIND_CONSUMER)]
    assert len(failed) > 0
    assert (failed.status_above == 2).all()


def test_spans_come_in_the_order_of_arrival_with_traces_interleaved_and_some_late(spans: pd.DataFrame) -> None:
    ends = (spans.start_ns + spans.duration_ns).to_numpy()
    behind_s = (np.maximum.accumulate(ends) - ends) / 1e9
    assert 0.001 < np.mean(behind_s > 6) < 0.02
    position = spans.index.to_series()
    spread = position.groupby(spans.trace_id).agg(lambda at: at.max() - at.min())
    assert spread.median() > 500


def test_system_has_the_asked_services_databases_and_topics(spans: pd.DataFrame) -> None:
    assert set(spans.service) <= {f"service-{i:03d}" for i in range(100)}
    assert spans.service.nunique() > 80
    assert set(spans.db_system.dropna()) == {"postgresql", "redis", "mongodb"}
    assert set(spans.messaging_destination.dropna()) == {f"topic-{i}" for i in range(5)}


def test_temporary_store_holds_the_spans_and_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with temporary_store(3000, batch_rows=1000) as store:
        assert [segment.rows for segment in store.segments("spans")] == [1000, 1000, 1000]
        assert store.read("spans").equals(pa.concat_tables(span_tables(3000)))
    assert list(tmp_path.iterdir()) == []


def test_temporary_store_refuses_what_the_disk_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SourceError, match="ask for fewer"), temporary_store(10**13):
        pass
    assert list(tmp_path.iterdir()) == []
