"""The way from an origin to the symptom, and what kind of thing an origin without spans is."""

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


def test_origin_that_is_the_symptom_is_its_own_way() -> None:
    assert Propagation(two_ways(), "web").path("web") == ("web",)


def test_service_without_calls_to_it_from_the_symptom_has_no_way() -> None:
    ways = Propagation(two_ways(), "cart")
    assert (ways.path("catalog"), ways.path("unknown"), Propagation(two_ways(), None).path("db")) == ((), (), ())


def test_only_nodes_without_spans_have_a_kind_of_their_own() -> None:
    assert kinds(two_ways()) == {"db": "database"}
