"""The way from an origin to the symptom, and what kind of thing an origin without spans is."""

from dataclasses import replace

import pyarrow as pa
import small_incident as small

from hypocenter.analysis.case import Case
from hypocenter.analysis.propagation import Propagation, kinds
from hypocenter.tracer.batch import Batch


def two_ways() -> Case:
    """Return a case in which web reaches the database through cart and through catalog; only catalog's calls slow."""
    rows = []
    for second in range(120):
        start, late = small.START_NS + second * small.SECOND_NS, second >= 60
        base = {"trace_id": f"{second:032x}", "start_ns": start, "duration_ns": 10**7}
        rows.append(base | {"span_id": "1" * 16, "name": "GET", "kind": 2, "service": "web"})
        for number, service in ((2, "cart"), (4, "catalog")):
            above = {
                "span_id": f"{number}" * 16,
                "parent_span_id": "1" * 16,
                "name": "GET",
                "kind": 3,
                "service": "web",
            }
            inner = {"span_id": f"{number + 1}" * 16, "parent_span_id": f"{number}" * 16, "name": "GET", "kind": 2}
            query = {"span_id": f"{number}{number + 1}" * 8, "parent_span_id": f"{number + 1}" * 16, "name": "SELECT"}
            slow = {"duration_ns": 10**9} if late and service == "catalog" else {}
            rows += [base | above | slow, base | inner | slow | {"service": service}]
            rows.append(
                base | query | slow | {"kind": 3, "service": service, "peer_service": "db", "db_system": "mysql"}
            )
    batch = Batch({"spans": small.table("spans", rows)})
    return Case(batch, small.START_NS + 60 * small.SECOND_NS)


def test_way_follows_the_calls_that_got_worse() -> None:
    assert Propagation(two_ways(), "web").path("db") == ("db", "catalog", "web")


def test_an_alert_that_comes_late_does_not_hide_which_calls_got_worse() -> None:
    case = replace(two_ways(), alert_ns=small.START_NS + 119 * small.SECOND_NS + 1)
    onset = small.START_NS + 60 * small.SECOND_NS
    assert Propagation(case, "web", onset).path("db") == ("db", "catalog", "web")


def test_a_way_along_calls_that_got_worse_may_be_longer_than_one_along_others() -> None:
    case = two_ways()
    direct = {"span_id": "9" * 16, "parent_span_id": "1" * 16, "name": "SELECT", "kind": 3, "service": "web"}
    direct |= {"peer_service": "db", "db_system": "mysql", "duration_ns": 10**6}
    rows = [
        direct | {"trace_id": f"{second:032x}", "start_ns": small.START_NS + second * small.SECOND_NS}
        for second in range(120)
    ]
    spans = pa.concat_tables([case.telemetry.table("spans"), small.table("spans", rows)])
    longer = replace(case, telemetry=Batch({"spans": spans}))
    assert Propagation(longer, "web").path("db") == ("db", "catalog", "web")


def test_origin_that_is_the_symptom_is_its_own_way() -> None:
    assert Propagation(two_ways(), "web").path("web") == ("web",)


def test_service_without_calls_to_it_from_the_symptom_has_no_way() -> None:
    ways = Propagation(two_ways(), "cart")
    assert (ways.path("catalog"), ways.path("unknown"), Propagation(two_ways(), None).path("db")) == ((), (), ())


def test_only_nodes_without_spans_have_a_kind_of_their_own() -> None:
    assert kinds(two_ways()) == {"db": "database"}
