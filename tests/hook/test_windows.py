"""The search begins before the alert by its rule's ``for``, its rate window and ten minutes."""

from __future__ import annotations

import asyncio
import json
from http.server import BaseHTTPRequestHandler

import hooks
import pytest
from servers_that_answer import serving

from hypocenter.errors import SourceError
from hypocenter.hook.payload import Alert, parse
from hypocenter.hook.windows import Rule, Rules, Search, read_rules, search_of

S = 10**9
NOW = hooks.ALERT_NS + 30 * S


def alerts() -> tuple[Alert, ...]:
    return parse(hooks.body(hooks.alert())).alerts


def test_search_is_told_a_time_around_which_the_end_of_pending_and_what_its_rates_see_lie() -> None:
    assert search_of(alerts(), Rule(120 * S, 300 * S), NOW) == Search(hooks.ALERT_NS - (120 + 150) * S)
    # An onset is looked for up to 5 min after it, so the end of pending must be no further.
    assert search_of(alerts(), Rule(0, 1200 * S), NOW).at_ns == hooks.ALERT_NS - 300 * S


def test_rates_that_reach_further_back_than_the_search_are_told() -> None:
    found = search_of(alerts(), Rule(0, 3600 * S), NOW)
    assert found == Search(hooks.ALERT_NS - 300 * S, "its rates reach further back than 21:59 UTC")


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
    status = iter([200, 500])

    def get(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(next(status))
        handler.end_headers()
        handler.wfile.write(json.dumps(answer).encode())

    async def run(url: str) -> Rule | None:
        found = Rules({"url": url, "tenant": "shop"})
        await found.refresh()
        with pytest.raises(SourceError, match="answered with 500"):
            await found.refresh()
        return found.get("Errors")

    with serving(get) as (url, requests):
        assert asyncio.run(run(url)) == Rule(120 * S, 300 * S)
    assert {(path, headers["X-Scope-OrgID"]) for path, headers in requests} == {("/api/v1/rules?type=alert", "shop")}
