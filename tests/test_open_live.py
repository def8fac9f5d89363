"""Live servers by their addresses: `hc.open` asks them, and the answer is the one that files give."""

from __future__ import annotations

import stored_answers

import hypocenter as hc


def test_open_pulls_traces_and_metrics_of_servers_and_ranks_them() -> None:
    with stored_answers.servers() as told:
        session = hc.open(since=told["SINCE"], prometheus=told["PROMETHEUS_URL"], jaeger=told["JAEGER_URL"])
    assert session.services()[["spans", "series"]].to_dict("index") == {
        "catalog": {"spans": 480, "series": 0},
        "checkout": {"spans": 960, "series": 0},
        "payment": {"spans": 960, "series": 2},
        "web": {"spans": 1440, "series": 0},
    }
    first = session.rank().ranking.candidates[0]
    assert first.service == "payment"
