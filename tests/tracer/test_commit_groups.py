"""Requests that are decoded and stored together: each sender hears what concerns its own, in JSON as in protobuf."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_collect import as_json, request

from hypocenter.tracer.batch import Batch
from hypocenter.tracer.collect import commit
from hypocenter.tracer.collect.commit import Committer
from hypocenter.tracer.collect.request import Accepted, Refused, Request
from hypocenter.tracer.otlp import JSON, PROTOBUF
from hypocenter.tracer.otlp.decode import decode_group
from hypocenter.tracer.privacy import Privacy
from hypocenter.tracer.store import Store


def in_json(*ids: int) -> Request:
    return Request("traces", JSON, as_json("web", list(ids)))


def in_protobuf(*ids: int) -> Request:
    return Request("traces", PROTOBUF, request("web", list(ids)).SerializeToString())


def stored(folder: Path, group: list[Request]) -> tuple[list[Accepted | Exception], list[int]]:
    """Return the outcomes of a commit and the ids of the spans in the store."""
    store = Store(folder / "store", create=True)
    outcomes, _ = Committer(store, Privacy()).commit(group)
    spans = store.read("spans", columns=["span_id"])
    return outcomes, sorted(int(one, 16) for one in spans["span_id"].to_pylist())


def test_requests_of_one_kind_and_encoding_are_decoded_in_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def noted(kind: str, payloads: list[bytes], content_type: str, source: str) -> Batch:
        calls.append((content_type, len(payloads)))
        return decode_group(kind, payloads, content_type, source)

    monkeypatch.setattr(commit, "decode_group", noted)
    group = [in_json(1), in_protobuf(2), in_json(3, 4), in_json(5), in_protobuf(6)]
    assert stored(tmp_path, group) == ([Accepted()] * 5, [1, 2, 3, 4, 5, 6])
    assert calls == [(JSON, 3), (PROTOBUF, 2)]


@pytest.mark.parametrize("sent", [1, 2000])
def test_broken_request_in_json_does_not_harm_those_that_share_its_commit(tmp_path: Path, sent: int) -> None:
    broken = Request("traces", JSON, b'{"resourceSpans":7}')
    first = in_json(*range(1, sent + 1))
    (good, refused, partial), ids = stored(tmp_path, [first, broken, in_json(0, 5000)])
    assert good == Accepted()
    assert isinstance(refused, Refused)
    assert str(refused) == "request: resourceSpans: expected an array"
    assert isinstance(partial, Accepted)
    assert partial.rejected == 1
    assert ids == [*range(1, sent + 1), 5000]
