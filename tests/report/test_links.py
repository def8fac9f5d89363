"""Links into other tools: filled in, quoted, and refused when they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_incident as small

from hypocenter.incident import RankedIncident
from hypocenter.report.links import Link, links, parse_links

TRACE = "http://jaeger:16686/trace/{trace_id}"
SEARCH = "https://grafana/explore?service={service}&from={start_ms}&to={end_ms}"
WINDOW = (1_700_000_000_000_000_000, 1_700_000_060_000_000_000)


def test_templates_of_a_trace_need_one_and_the_others_none() -> None:
    templates = {"Jaeger": TRACE, "Grafana": SEARCH}
    assert links(templates, WINDOW, "abc", service="pay") == (Link("Jaeger", "http://jaeger:16686/trace/abc"),)
    url = "https://grafana/explore?service=pay&from=1700000000000&to=1700000060000"
    assert links(templates, WINDOW, service="pay") == (Link("Grafana", url),)
    assert links(templates, None, service="pay") == ()


def test_a_hostile_name_stays_in_its_place() -> None:
    (link,) = links({"x": "http://h/{service}?a=1"}, None, service="a/../b?c=2&d#'\"<")
    assert link.url == "http://h/a%2F..%2Fb%3Fc%3D2%26d%23%27%22%3C?a=1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://h/{trace_id}", "a link is NAME=URL"),
        ("x=javascript:alert(1)", "expected an http or https address"),
        ("x=http://{service}/", "expected an http or https address"),
        ("x=http://h/{span}", "unknown {span}; known: trace_id, service"),
    ],
)
def test_a_link_that_cannot_be_filled_in_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.split(";")[0].replace("{", r"\{").replace("}", r"\}")):
        parse_links([text])


def test_the_page_links_the_suspect_and_both_traces_and_stays_small(tmp_path: Path) -> None:
    incident = RankedIncident(small.ranking(), small.case())
    path = incident.report(tmp_path / "page.html", {"Jaeger": TRACE, "Grafana": SEARCH})
    html = path.read_text(encoding="utf-8")
    assert html.count('href="http://jaeger:16686/trace/') == 2
    assert html.count('href="https://grafana/explore?service=payment&amp;from=') == 1
    assert path.stat().st_size < 6e6
