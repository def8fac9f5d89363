"""Text from elsewhere stays text in Markdown: no link, picture, HTML, format or table is made of it."""

from __future__ import annotations

import re

import markdown_it
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hypocenter.legible import visible
from hypocenter.report.escape import for_markdown

RENDERER = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = [
    *("https://evil.example/x", "www.evil.example", "<https://evil.example>", "[a](http://evil.example)", "[a][b]"),
    *("![p](http://evil.example/p.png)", "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "<!-- ", "&lt;"),
    *(
        "**b**",
        "__b__",
        "_i_",
        "*i*",
        "~~s~~",
        "`rm -rf`",
        "```",
        "|",
        "|-|",
        "# h",
        "- l",
        "+ l",
        "1. l",
        "1) l",
        "> q",
    ),
    *("[b]: http://evil.example", "---", "\\", "\\\n", "  \n", "\n\n", "\r", "\x1b[2J", "\u202e", "\u2028", "$x$"),
    *("> q", "@everyone", "ops@evil.example", "!", " ", "word", "]", ")", "**", "_", "{{ x }}"),
]
# Where the report, the notebook and the hook put such a text.
PLACES = [
    *("{} and more", "- {}", "2. Impact: **x**: {}", "# {}", "say **{}**"),
    "| a | b |\n|---|---|\n| {} | c |",
]


def rendered(source: str) -> tuple[list[str], list[str], str]:
    """Return the blocks, the kinds of what is within their lines, and the text of it."""
    tokens = RENDERER.parse(source)
    parts = [part for token in tokens for part in token.children or ()]
    return [token.type for token in tokens], [part.type for part in parts], "".join(part.content for part in parts)


@pytest.mark.parametrize("place", PLACES)
@given(pieces=st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), min_size=1, max_size=8))
@example(pieces=HOSTILE)
def test_hostile_text_is_shown_as_it_is(place: str, pieces: list[str]) -> None:
    text = visible("".join(pieces)).strip() or "x"
    blocks, kinds, said = rendered(place.format("PLAIN"))
    assert rendered(place.format(for_markdown(text))) == (blocks, kinds, said.replace("PLAIN", text))


@given(st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), max_size=8))
def test_what_a_ticket_makes_links_mentions_and_formulas_of_is_escaped(pieces: list[str]) -> None:
    """Trackers find bare addresses and ``@names`` in the source; the renderer above knows none of these."""
    assert re.findall(r"(?<!\\)[@:$]|www\.", for_markdown("".join(pieces))) == []
