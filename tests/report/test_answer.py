"""The answer in words, for the terminal: what it says first, with which figures, and that it obeys no telemetry."""

from __future__ import annotations

from dataclasses import replace

import small_incident as small
from rich.console import Console

from hypocenter.analysis.case import Case
from hypocenter.analysis.ranking import Candidate, Evidence, Ranking
from hypocenter.report.answer import Step, answer
from hypocenter.report.html import to_card
from hypocenter.report.text import to_text

NO_RANKING = Ranking("hypocenter", "no-origin")


def printed(ranking: Ranking, case: Case | None = None, width: int = 160) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(to_text(ranking, case))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_terminal_says_the_answer_then_when_and_why_then_the_rest() -> None:
    assert printed(small.ranking(), small.case()) == [
        "payment (service) is very likely the origin",
        "how sure          87%; next is checkout -> payment with 9%",
        "when              since 2023-11-14 22:18:20 UTC, 40 s before the alert",
        "root cause        payment (service): its own work takes longer: 28 ms before, 428 ms now",
        "critical failure  calls from checkout to payment: errors 0.0% → 25.0%, p95 47.5 ms → 517 ms",
        "impact            web: errors 0.0% → 25.0%, p95 83.5 ms → 553 ms",
        "path              payment → checkout → web",
        "evidence          its own work takes longer: 28 ms before, 428 ms now  [latency, +6.4 nats]",
        "                  25% of its calls fail, 0% before  [errors, +2.7 nats]",
        "against it        saturation: memory as before",
        "or else           2. the way from checkout to payment, 9%",
        "                     calls take 400 ms longer; but latency: the gap between client and server is as before",
        "                  3. web (service), under 1%",
        "                     nothing speaks for it",
        "not checked       log lines: no spans joined",
        "look at           the slow traces of payment: where does the time go that is its own?",
        "                  the error messages of payment, the deepest span first",
        "run               kubectl rollout history deployment payment",
        "                  kubectl logs deployment/payment --since=1h --tail=200",
    ]


def test_what_is_said_of_a_runner_up_stays_below_its_name_in_a_narrow_terminal() -> None:
    lines = printed(small.ranking(), small.case(), width=70)
    first = next(number for number, line in enumerate(lines) if line.startswith("or else"))
    assert lines[first + 1 : first + 4] == [
        "                     calls take 400 ms longer; but latency: the gap",
        "                     between client and server is as before",
        "                  3. web (service), under 1%",
    ]


def test_no_clear_origin_keeps_the_order_but_names_nobody() -> None:
    ranking = replace(small.ranking(), outcome="no-origin")
    told = answer(ranking, small.case())
    assert (told.headline, told.steps, told.commands) == ("No clear origin", (), ())
    lines = printed(ranking, small.case())
    assert "perhaps  " in next(line for line in lines if "1. payment (service)" in line)


def test_failed_and_not_applicable_give_the_reason_and_no_candidates() -> None:
    ranking = Ranking("traversal", "not-applicable", error="no graph", not_checked=("latency: no spans",))
    assert printed(ranking) == [
        "No answer: traversal cannot judge this incident",
        "because      no graph",
        "not checked  latency: no spans",
    ]
    assert printed(Ranking("robust", "failed", error="ValueError: x"))[0] == "No answer: robust failed"


def test_unknown_onset_and_probability_are_said_and_not_made_up() -> None:
    scored = Ranking("max-z", "ranked", (Candidate("cart", "service", "cart", None, None, 7.0),))
    told = answer(scored, small.case())
    assert told.headline == "cart (service) is ranked first as the origin"
    assert told.certainty == "max-z gives scores, no probability: 7"
    assert told.since == "onset unknown; the alert is of 2023-11-14 22:19:00 UTC"
    assert told.steps[0].fact == "neither its calls nor its metrics show a change"


def test_edge_shows_the_client_side_of_its_calls() -> None:
    edge = Candidate("checkout -> payment", "edge", "payment", 0.6, small.ONSET_NS, path=("payment", "checkout", "web"))
    told = answer(Ranking("hypocenter", "ranked", (edge,)), small.case())
    assert told.headline == "the way from checkout to payment is likely the origin"
    assert told.steps[1] == Step(
        "Critical failure", "calls from checkout to payment", "errors 0.0% → 25.0%, p95 47.5 ms → 517 ms"
    )


def test_origin_that_is_itself_where_it_hurts_has_no_third_party() -> None:
    own = Candidate("web", "service", "web", 0.9, small.ONSET_NS, path=("web",))
    steps = answer(Ranking("hypocenter", "ranked", (own,)), small.case()).steps
    assert [(s.role, s.entity) for s in steps] == [
        ("Root cause", "web (service)"),
        ("Critical failure", "requests to web"),
        ("Impact", "web"),
    ]
    assert steps[2].fact == "it is itself where it hurts"


def test_control_characters_of_telemetry_never_reach_the_terminal() -> None:
    ranking = small.ranking("pay\x1b[2Jment", "a\nb\u202e[bold]c[/bold]")
    text = "\n".join(printed(ranking))
    assert "\x1b" not in text and "\u202e" not in text
    assert "pay\ufffd[2Jment (service) is very likely the origin" in text
    assert "a b\ufffd[bold]c[/bold]" in text


def test_command_of_a_finding_comes_first_unless_a_shell_would_obey_it() -> None:
    def commands(command: str) -> tuple[str, ...]:
        found = Evidence("kubernetes", 5.0, "its image cannot be pulled", command=command)
        candidate = replace(small.ranking().candidates[0], evidence_for=(found,))
        return answer(replace(small.ranking(), candidates=(candidate,)), small.case()).commands

    assert commands("kubectl -n shop describe pod api-1") == ("kubectl -n shop describe pod api-1",)
    assert "kubectl get pod x; rm -rf /" not in commands("kubectl get pod x; rm -rf /")


def test_name_that_kubernetes_would_refuse_gives_no_command_to_paste() -> None:
    case = small.case(small.telemetry("pay; rm -rf ~"))
    assert answer(small.ranking("pay; rm -rf ~"), case).commands == ()
    assert answer(small.ranking(), None).commands == ()


def test_braces_in_a_name_are_not_filled_in() -> None:
    told = answer(small.ranking("{entity}{name}"), small.case())
    assert told.look_at[1] == "the error messages of {entity}{name}, the deepest span first"


def test_card_escapes_telemetry_and_holds_no_script() -> None:
    hostile = "<script>alert(1)</script>"
    card = to_card(small.ranking(hostile, hostile), small.case())
    assert "<script" not in card
    assert "&lt;script&gt;alert(1)&lt;/script&gt; (service) is very likely the origin" in card


def test_ranking_without_candidates_is_an_answer_too() -> None:
    assert printed(NO_RANKING) == ["No clear origin", "because  no candidate stands out"]
    assert "No candidates." in to_card(NO_RANKING)


def test_only_the_strongest_evidence_of_others_is_repeated() -> None:
    other = Candidate(
        "b", "service", "b", 0.1, evidence_for=(Evidence("errors", 1.0, "x"), Evidence("latency", 0.5, "y"))
    )
    first = Candidate("a", "service", "a", 0.9)
    lines = printed(Ranking("hypocenter", "ranked", (first, other)))
    assert [line.strip() for line in lines if line.endswith(" x")] == ["x"]
