"""The next command of every Kubernetes rule reaches whoever reads the answer; what a shell would obey does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import small_incident as small
import test_control_plane as control_plane
from kubernetes_shop import history, shop
from test_kubernetes_causes import CAUSES
from test_kubernetes_more_causes import CAUSES as RARER

from hypocenter.analysis.evidence.kubernetes_causes import RULES
from hypocenter.analysis.evidence.kubernetes_measured import measured
from hypocenter.analysis.ranking import Evidence
from hypocenter.graph.kubernetes_services import ServiceJoin, Speakers
from hypocenter.report.answer import answer

# Each is what the tests of the causes expect of its rule.
COMMANDS = sorted(
    {(cause.rule, cause.command) for cause in (*CAUSES, *RARER)}
    | {("waiting in order", "kubectl -n shop describe pod ledger-0")}
)
HOSTILE = [
    "kubectl get --raw '/readyz?verbose'; rm -rf /",
    "kubectl get --raw '/readyz?verbose' | sh",
    "kubectl get --raw '/readyz?verbose' '$(id)'",
    "kubectl get --raw '/$(id)?verbose'",
    "kubectl get --raw '/readyz?verbose\n'",
    "kubectl get --raw /readyz?verbose",
    "kubectl -n shop logs 'x; rm -rf' -c app",
    "kubectl get pods\nid",
    "rm -rf /",
]


def answered(command: str) -> tuple[str, ...]:
    """Return the commands of an answer whose evidence names ``command``."""
    ranking = small.ranking()
    first = ranking.candidates[0]
    told = (Evidence("kubernetes", 6.0, "it failed", command=command),)
    return answer(
        replace(ranking, candidates=(replace(first, evidence_for=told), *ranking.candidates[1:])), small.case()
    ).commands


def test_every_rule_has_a_cause_here() -> None:
    assert {rule.name for rule in RULES} - {rule for rule, _ in COMMANDS} == set()


@pytest.mark.parametrize(("rule", "command"), COMMANDS)
def test_next_command_of_a_rule_is_in_the_answer(rule: str, command: str) -> None:
    assert answered(command) == (command,), rule


@pytest.mark.parametrize("said", [t[0] for t in control_plane.TROUBLES], ids=[t[1] for t in control_plane.TROUBLES])
def test_next_command_about_a_component_is_in_the_answer(said: control_plane.Said) -> None:
    batch, seen = control_plane.scraped(said), history([(0, shop())])
    join = ServiceJoin(seen.whole, Speakers({}, {}, frozenset({"web", "cart"})))
    (told,) = measured(seen, join, batch.table("series"), batch.table("points"))
    assert answered(told.command) == (told.command,)


@pytest.mark.parametrize("command", HOSTILE)
def test_what_a_shell_would_obey_is_left_out(command: str) -> None:
    assert command not in answered(command)
