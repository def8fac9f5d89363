"""The answer as Markdown: it renders to what it says, and nothing in telemetry is markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import markdown_it
import small_incident as small

from hypocenter.incident import RankedIncident
from hypocenter.report.markdown import to_markdown

HOSTILE = "<b>p</b> [x](javascript:1) `rm` **bold** | # _i_ <script>alert(1)</script>"


def test_markdown_says_what_the_page_says(tmp_path: Path) -> None:
    links = {"Grafana": "https://grafana/?service={service}"}
    text = RankedIncident(small.ranking(), small.case()).report(tmp_path / "a.md", links).read_text(encoding="utf-8")
    html = markdown_it.MarkdownIt().render(text)
    assert "<h1>payment (service) is very likely the origin</h1>" in html
    assert "<li>Root cause: <strong>payment (service)</strong>: its own work takes longer" in html
    assert '<a href="https://grafana/?service=payment">Grafana</a>' in html
    assert '<code class="language-sh">kubectl rollout history deployment payment\n' in html
    assert "<li>+6.4 nats, latency: its own work takes longer: 28 ms before, 428 ms now</li>" in html
    assert "<li>log lines: no spans joined</li>" in html


def test_markdown_says_which_visits_are_bad_and_obeys_no_name_in_it() -> None:
    ranking = small.ranking()
    first = replace(ranking.candidates[0], where=f"bad are the visits with the pod {HOSTILE}")
    markdown = to_markdown(replace(ranking, candidates=(first, *ranking.candidates[1:])), small.case())
    html = markdown_it.MarkdownIt("commonmark", {"html": True}).render(markdown)
    escaped = HOSTILE.replace("<", "&lt;").replace(">", "&gt;")
    assert f"bad are the visits with the pod {escaped}." in html


def test_what_telemetry_wrote_stays_text() -> None:
    case = small.case(small.telemetry(suspect=HOSTILE, message=HOSTILE))
    html = markdown_it.MarkdownIt("commonmark", {"html": True}).render(
        to_markdown(small.ranking(HOSTILE, HOSTILE), case)
    )
    escaped = HOSTILE.replace("<", "&lt;").replace(">", "&gt;")
    assert f"<h1>{escaped} (service) is very likely the origin</h1>" in html
    assert [tag for tag in ("<b>", "<script", "<a ", "<code>rm", "<em>", "<table") if tag in html] == []
