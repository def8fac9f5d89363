"""The search begins before the alert by its rule's ``for``, its rate window and ten minutes."""

from __future__ import annotations

import asyncio

import hooks
import httpx

from hypocenter.hook.payload import Alert, parse
from hypocenter.hook.windows import Rule, Rules, read_rules, search_of

S = 10**9
NOW = hooks.ALERT_NS + 30 * S


def alerts() -> tuple[Alert, ...]:
    return parse(hooks.body(hooks.alert())).alerts


def test_search_reaches_back_over_for_rate_window_and_ten_minutes() -> None:
    found = search_of(alerts(), Rule(120 * S, 300 * S), NOW)
    assert found.begin_ns == hooks.ALERT_NS - (120 + 300 + 600) * S
    assert (found.at_ns, found.note) == (hooks.ALERT_NS - (120 + 150) * S, None)


def test_an_unknown_rule_is_assumed_and_said() -> None:
    assert search_of(alerts(), None, NOW).note == "not known; for 1m and rates over 1m assumed"


def test_an_alert_of_the_future_counts_as_now() -> None:
    assert search_of(alerts(), Rule(0, 0), hooks.ALERT_NS - 50 * S).at_ns == hooks.ALERT_NS - 50 * S


def test_rules_are_read_from_prometheus_and_kept_when_it_hangs() -> None:
    rules = [
        {"type": "alerting", "name": "Errors", "duration": 120, "query": "rate(e_total[2m]) > 0"},
        {"type": "alerting", "name": "Errors", "duration": 60, "query": "sum(rate(e_total[5m:30s])) > 0"},
        {"type": "recording", "name": "r", "query": "x"},
    ]
    answer = {"status": "success", "data": {"groups": [{"rules": rules}]}}
    assert read_rules(answer) == {"Errors": Rule(120 * S, 300 * S)}

    async def run() -> Rule | None:
        answers = iter([httpx.Response(200, json=answer), httpx.Response(500)])
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: next(answers))) as client:
            found = Rules("http://prometheus", client)
            await found.refresh()
            try:
                await found.refresh()
            except httpx.HTTPError:
                return found.get("Errors")
        return None

    assert asyncio.run(run()) == Rule(120 * S, 300 * S)
