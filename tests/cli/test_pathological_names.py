"""Names of any kind go from a file of each format to the store, the terminal, JSON and the map, and do no harm.

The first span of each file is an ordinary one: the format of a file is told by its first 64 KiB.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hypocenter.cli.main import app
from hypocenter.tracer.store import Store

TRACE, CLIENT_ID, SERVER_ID, START_US = (
    "5b8efff798038103d269b633813fc60c",
    "00000000000000a1",
    "00000000000000b2",
    17 * 10**14,
)
NAMES = {
    "controls": "\x1b[2J\x1b]0;owned\x07a\r\nb\tc\0",
    "html": "</script><script>alert(1)</script><img src=x onerror=alert(1)>&lt;",
    "markup": "[red]markup[/red] %{x} ${x} {{7*7}}",
    "bidi": "\u202egnp.exe\u2066\u200f",
    "wide": "購物車💥e\u0301",
    "long": "n" * 2**20,
}


def otlp(name: str, attributes: dict[str, str]) -> Any:
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]

    def resource(service: str, span_id: str, kind: int, **more: Any) -> dict[str, Any]:
        span = {"traceId": TRACE, "spanId": span_id, "name": "ask", "kind": kind, **more}
        span |= {"startTimeUnixNano": str(START_US * 1000), "endTimeUnixNano": str(START_US * 1000 + 5000)}
        owner = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
        return {"resource": owner, "scopeSpans": [{"spans": [span]}]}

    server = resource(name, SERVER_ID, 2, parentSpanId=CLIENT_ID, name=name, attributes=pairs)
    return {"resourceSpans": [resource("web", CLIENT_ID, 3), server]}


def jaeger(name: str, attributes: dict[str, str]) -> Any:
    def span(span_id: str, process: str, kind: str, references: list[dict[str, str]]) -> dict[str, Any]:
        named, pairs = ("ask", {}) if kind == "client" else (name, attributes)
        tags = [{"key": key, "type": "string", "value": v} for key, v in {**pairs, "span.kind": kind}.items()]
        row = {"traceID": TRACE, "spanID": span_id, "operationName": named, "processID": process, "tags": tags}
        return row | {"startTime": START_US, "duration": 5, "references": references, "logs": []}

    parent = {"refType": "CHILD_OF", "traceID": TRACE, "spanID": CLIENT_ID}
    spans = [span(CLIENT_ID, "p1", "client", []), span(SERVER_ID, "p2", "server", [parent])]
    processes = {"p1": {"serviceName": "web", "tags": []}, "p2": {"serviceName": name, "tags": []}}
    return {"data": [{"traceID": TRACE, "spans": spans, "processes": processes}]}


def zipkin(name: str, attributes: dict[str, str]) -> Any:
    def span(span_id: str, service: str, kind: str, **more: Any) -> dict[str, Any]:
        row = {"traceId": TRACE, "id": span_id, "kind": kind, "name": "ask", "timestamp": START_US, "duration": 5}
        return row | {"localEndpoint": {"serviceName": service}, **more}

    server = span(SERVER_ID, name, "SERVER", parentId=CLIENT_ID, name=name, tags=attributes)
    return [span(CLIENT_ID, "web", "CLIENT"), server]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("write", [otlp, jaeger, zipkin])
def test_name_stays_what_it_is_and_does_no_harm(
    tmp_path: Path, write: Callable[[str, dict[str, str]], Any], name: str
) -> None:
    file, store = tmp_path / "traces.json", tmp_path / "store"
    file.write_text(json.dumps(write(name, {name: name})), encoding="utf-8")
    run("ingest", file, "--store", store)
    spans = Store(store).read("spans", columns=["service", "name", "attributes"]).to_pylist()
    (named,) = (span for span in spans if span["service"] != "web")
    assert (named["service"], named["name"]) == (name, name)
    assert (name, name) in [(key, json.loads(value)) for key, value in named["attributes"]]
    shown = run("graph", "--store", store)
    assert all(c.isprintable() for c in shown.replace("\n", ""))
    assert len(shown) < 20_000
    made = json.loads(run("graph", "--store", store, "-o", "json"))
    assert ("web", name) in [(edge["source"], edge["target"]) for edge in made["edges"]]
    page = tmp_path / "map.html"
    run("graph", "--store", store, "--html", page)
    assert "<script>alert(1)" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("write", [otlp, jaeger, zipkin])
def test_ten_thousand_attributes_are_kept(tmp_path: Path, write: Callable[[str, dict[str, str]], Any]) -> None:
    file, store = tmp_path / "traces.json", tmp_path / "store"
    attributes = {f"key {number}": f"value {number}" for number in range(10_000)}
    file.write_text(json.dumps(write("cart", attributes)), encoding="utf-8")
    run("ingest", file, "--store", store)
    spans = Store(store).read("spans", columns=["attributes"]).to_pylist()
    kept = dict(max((span["attributes"] for span in spans), key=len))
    assert attributes.items() <= {key: json.loads(value) for key, value in kept.items()}.items()


def run(*arguments: str | Path) -> str:
    """Return standard output of the command line, which must succeed."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output[-2000:]
    return done.stdout
