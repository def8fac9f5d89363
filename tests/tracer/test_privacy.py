"""What must not be stored is not stored: proven on every row and byte of a store."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypocenter.tracer.batch import Batch, table_of
from hypocenter.tracer.ingest import ingest
from hypocenter.tracer.privacy import Privacy
from hypocenter.tracer.schema import SIGNALS, SPANS
from hypocenter.tracer.store import Store

START = 1_700_000_000 * 10**9


def spans(*attributes: dict[str, object], **columns: object) -> Batch:
    rows = [[(key, json.dumps(value)) for key, value in own.items()] for own in attributes]
    n = len(rows)
    required = {"trace_id": "t", "span_id": "s", "name": "get", "kind": 0, "status": 0, "start_ns": START}
    given = {"duration_ns": 1, "adjusted_milli": 1000, "source": "x", "attributes": rows, "resource": [[]] * n}
    return Batch({"spans": table_of(SPANS, {**required, **given, **columns}, n)})


def kept(batch: Batch) -> list[dict[str, Any]]:
    return [{key: json.loads(text) for key, text in row} for row in batch.table("spans")["attributes"].to_pylist()]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("http.request.header.authorization", "Bearer abcdefgh", "***"),
        ("cookie", ["a=b"], "***"),
        ("gen_ai.usage.input_tokens", 17, 17),
        ("session_token", 17, 17),
        ("note", "sent Authorization: Basic dXNlcjpwYXNz now", "sent Authorization: *** *** now"),
        ("note", "eyJhbGci.eyJzdWIi.c2lnbmF0dXJl", "***"),
        ("url.full", "https://u:p@shop/a?card=1#top", "https://***@shop/a?***#top"),
        ("url.query", "?card=1", "?***"),
        ("http.target", "/a?card=1", "/a?***"),
        ("note", "see https://shop/a?card=1 and /b?c", "see https://shop/a?*** and /b?c"),
        (
            "db.statement",
            "SELECT * FROM t1 WHERE a = 'it''s' AND b IN (1,2.5) AND c=\"x\"",
            "SELECT * FROM t1 WHERE a = ? AND b IN (?,?) AND c=?",
        ),
        ("db.query.text", "SELECT 'cut off", "SELECT ?"),
        ("db.query.parameter.0", 42, "?"),
        ("user", "mail jo.doe+x@example.co.uk!", "mail ***@***!"),
        ("payload", {"password": "hunter2", "n": 1}, {"password": "***", "n": 1}),
        ("payload", '{"password": "hunter2"}', '{"password": "***"}'),
        ("plain", "GET /cart 200", "GET /cart 200"),
    ],
)
def test_default_masks(name: str, value: object, expected: object) -> None:
    batch = Privacy().apply(spans({name: value}))
    assert kept(batch) == [{name: expected}]
    assert batch.tally.repaired == ({} if value == expected else {"sensitive text masked": 1})


def test_rules_allow_deny_and_hash_by_pattern_with_the_columns_they_fill() -> None:
    given = {"user.id": "7", "user.name": "jo", "http.route": "/", "error.type": "E"}
    same = {"user.id": "7"}
    rules = Privacy(deny=["user.name", "error.*"], hash=["user.id"], key=b"k")
    batch = rules.apply(spans(given, same, {}, error_type="E", pod="p"))
    first, second, third = kept(batch)
    assert (sorted(first), first["user.id"] == second["user.id"] != "7", third) == (["http.route", "user.id"], True, {})
    assert batch.table("spans").select(["error_type", "pod"]).to_pylist() == [{"error_type": None, "pod": "p"}] * 3
    assert batch.tally.repaired == {"attribute removed": 2, "attribute hashed": 2}
    assert kept(Privacy(allow=["http.*"]).apply(spans(given))) == [{"http.route": "/"}]


def test_identity_is_not_content() -> None:
    name = "adoptions@services-database.us-west-2.rds.amazonaws.com_Database::SQL"
    assert Privacy().apply(spans({}, service=name, peer_service=name)).table("spans")["service"].to_pylist() == [name]


TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


@given(st.lists(st.dictionaries(st.sampled_from(["a", "token", "db.statement", "url.full"]), TEXT | st.lists(TEXT))))
def test_values_stay_json_and_tables_stay_in_their_schema(attributes: list[dict[str, object]]) -> None:
    batch = Privacy().apply(spans(*attributes))
    table = batch.table("spans")
    table.validate(full=True)
    assert table.schema.equals(SPANS)
    assert [sorted(row) for row in kept(batch)] == [sorted(own) for own in attributes]


SECRETS = ["sk-live-4711", "hunter2xyz", "jo.doe@example.com", "4111111111111111", "c2Vzc2lvbg"]


def otlp() -> list[dict[str, object]]:
    key, word, mail, card, cookie = SECRETS
    pairs = {
        "http.request.header.authorization": f"Bearer {key}",
        "url.full": f"https://shop/pay?card={card}",
        "db.statement": f"INSERT INTO cards VALUES ('{mail}', {card})",
        "note": f"password={word} cookie: id={cookie}; mail {mail}",
    }
    attributes = [{"key": name, "value": {"stringValue": text}} for name, text in pairs.items()]
    events = [{"timeUnixNano": str(START), "name": f"login {mail}", "attributes": attributes}]
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": f"GET /pay?card={card}",
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + 1),
        "status": {"code": 2, "message": f"user {mail} token={key}"},
        "attributes": attributes,
        "events": events,
    }
    log = {
        "timeUnixNano": str(START),
        "body": {"stringValue": f"{mail} logged in, Set-Cookie: {cookie}, secret: {word}, see https://a/b?c={card}"},
        "attributes": [a for a in attributes if a["key"] != "db.statement"],
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "pay"}}, *attributes]}
    point = {"timeUnixNano": str(START), "asDouble": 1, "attributes": attributes}
    return [
        {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]},
        {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [log]}]}]},
        {
            "resourceMetrics": [
                {"resource": resource, "scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [point]}}]}]}
            ]
        },
    ]


def found_in(store: Store) -> list[str]:
    text = "".join(str(store.read(signal).to_pylist()) for signal in SIGNALS)
    return [secret for secret in SECRETS if secret in text]


def test_secrets_are_absent_from_the_store(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join(map(json.dumps, otlp())), encoding="utf-8")
    bare, masked = (Store(tmp_path / name, create=True) for name in ("bare", "masked"))
    ingest([file], bare, privacy=Privacy(masks=False))
    ingest([file], masked)
    assert (found_in(bare), found_in(masked)) == (SECRETS, [])
    stored = b"".join(path.read_bytes() for path in (tmp_path / "masked").rglob("*") if path.is_file())
    assert [secret for secret in SECRETS if secret.encode() in stored] == []
    assert [masked.read(signal).num_rows for signal in ("spans", "logs", "points")] == [1, 1, 1]
