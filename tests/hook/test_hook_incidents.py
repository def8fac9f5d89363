"""Which alerts are one incident, what is said about it, and that its state survives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import hooks
import small_incident as small

from hypocenter.errors import RankerError
from hypocenter.hook.hook import Hook
from hypocenter.tracer.window import to_rfc3339

FIRST = "payment (service) is very likely the origin (87%), since 22:18:20 UTC"
ORIGIN = "origin payment (service), since 22:18:20 UTC"


def told(
    folder: Path, workers: hooks.Workers, steps: Callable[[Hook, Callable[..., Awaitable[None]]], Awaitable[None]]
) -> list[str | None]:
    """Return the summaries that the receiver got, in order."""
    receiver = hooks.Receiver()

    async def whole() -> None:
        async with hooks.hook(folder, receiver, workers) as hook:
            await hooks.learnt(hook)

            async def send(*alerts: dict[str, Any], **more: Any) -> None:
                await hook.receive(hooks.body(*alerts, **more), "alertmanager")
                await hooks.settled(hook)

            await steps(hook, send)

    asyncio.run(whole())
    return receiver.summaries


def test_alerts_that_the_origin_can_hurt_are_one_incident_and_others_are_not(tmp_path: Path) -> None:
    workers = hooks.Workers()

    async def steps(hook: Hook, send: Callable[..., Awaitable[None]]) -> None:
        await send(hooks.alert("web"))
        await send(hooks.alert("checkout", name="Slow"))
        # Nothing calls payment from there: an incident of its own, here with an origin of its own.
        workers.answer |= {"origin": {"entity": "billing", "kind": "service", "service": "billing"}, "name": "billing"}
        workers.answer |= {"headline": "billing is likely the origin", "related": ["billing"]}
        await send(hooks.alert("billing"))
        assert [i.services for i in hook.enricher.incidents] == [["billing"], ["web", "checkout"]]

    assert told(tmp_path, workers, steps) == [
        FIRST,
        f"Now also checkout: same incident, {ORIGIN}",
        "billing is likely the origin (87%), since 22:18:20 UTC",
    ]
    assert workers.ranked == ["web", "billing"]


def test_a_second_ranking_with_the_same_origin_and_onset_joins_the_first(tmp_path: Path) -> None:
    workers = hooks.Workers(related=["web", "checkout", "payment"])

    async def steps(hook: Hook, send: Callable[..., Awaitable[None]]) -> None:
        await send(hooks.alert("web"))
        await send(hooks.alert("catalog"))  # not known to be hurt, but its ranking ends at the same place
        assert [i.services for i in hook.enricher.incidents] == [["web", "catalog"]]

    assert told(tmp_path, workers, steps) == [FIRST, f"Now also catalog: same incident, {ORIGIN}"]


def test_an_alert_that_began_well_before_the_onset_is_another_incident(tmp_path: Path) -> None:
    workers = hooks.Workers()

    async def steps(hook: Hook, send: Callable[..., Awaitable[None]]) -> None:
        await send(hooks.alert("web"))
        workers.answer |= {"origin": None, "outcome": "no-origin", "onset_ns": None, "probability": None, "name": None}
        await send(hooks.alert("checkout", startsAt=to_rfc3339(small.ONSET_NS - 600 * 10**9)))
        assert len(list(hook.enricher.incidents)) == 2

    assert told(tmp_path, workers, steps) == [FIRST, "No clear origin: the evidence is too weak to name one"]


def test_the_end_is_told_with_its_length_and_origin(tmp_path: Path) -> None:
    async def steps(_hook: Hook, send: Callable[..., Awaitable[None]]) -> None:
        await send(hooks.alert("web"), group="w")
        await send(hooks.alert("checkout"), group="c")
        await send(hooks.alert("web", status="resolved"), group="w")
        await send(hooks.alert("checkout", status="resolved"), group="c")

    assert told(tmp_path, hooks.Workers(), steps)[2:] == [
        "Resolved here, origin payment (service); still firing: checkout",
        "Resolved: lasted 8 min, origin payment (service)",
    ]


def test_the_end_of_an_alert_that_was_never_seen_passes_untouched(tmp_path: Path) -> None:
    workers = hooks.Workers()

    async def steps(_hook: Hook, send: Callable[..., Awaitable[None]]) -> None:
        await send(hooks.alert("web", status="resolved"))

    assert (told(tmp_path, workers, steps), workers.ranked) == ([None], [])


def test_an_old_ranking_is_made_anew_and_confirmed_or_changed(tmp_path: Path) -> None:
    workers = hooks.Workers()

    async def steps(hook: Hook, send: Callable[..., Awaitable[None]]) -> None:
        await send(hooks.alert("web"))
        (incident,) = hook.enricher.incidents
        incident.ranked_ns = 0
        await send(hooks.alert("web", name="Slow"))
        incident.ranked_ns = 0
        workers.answer |= {"origin": {"entity": "catalog", "kind": "service", "service": "catalog"}}
        workers.answer |= {"headline": "catalog (service) is likely the origin", "chance": "61%"}
        await send(hooks.alert("web", name="Slower"))
        incident.ranked_ns = 0
        workers.failure = "the worker ended"
        await send(hooks.alert("web", name="Slowest"))

    assert told(tmp_path, workers, steps) == [
        FIRST,
        f"Confirmed: {FIRST}",
        "Changed: catalog (service) is likely the origin (61%), since 22:18:20 UTC",
        f"Still firing: {ORIGIN}",
    ]


def test_an_incident_is_known_after_a_restart(tmp_path: Path) -> None:
    async def first(_hook: Hook, send: Callable[..., Awaitable[None]]) -> None:
        await send(hooks.alert("web"))

    async def second(_hook: Hook, send: Callable[..., Awaitable[None]]) -> None:
        await send(hooks.alert("checkout"))

    later = hooks.Workers()
    assert told(tmp_path, hooks.Workers(), first) == [FIRST]
    assert told(tmp_path, later, second) == [f"Now also checkout: same incident, {ORIGIN}"]
    assert later.ranked == []


def test_a_storm_needs_one_ranking_and_makes_one_incident(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(300)]
    workers = hooks.Workers(related=[*names, "payment"])
    receiver = hooks.Receiver()

    async def whole() -> int:
        workers.gate = asyncio.Event()
        async with hooks.hook(tmp_path, receiver, workers, mapping=[{"label": "service", "names": "service"}]) as hook:
            await hooks.learnt(hook)
            hook.enricher.known = type(hook.enricher.known)(frozenset(names))
            await asyncio.gather(*(hook.receive(hooks.body(hooks.alert(name)), "alertmanager") for name in names))
            workers.gate.set()
            await hooks.settled(hook)
            return len(list(hook.enricher.incidents))

    assert asyncio.run(whole()) == 1
    assert (len(workers.ranked), len(receiver.requests)) == (1, 300)
    assert [s for s in receiver.summaries if s == FIRST] == [FIRST]


def test_doubts_about_the_labels_are_told(tmp_path: Path) -> None:
    receiver = hooks.Receiver()

    async def whole() -> None:
        async with hooks.hook(tmp_path, receiver) as hook:
            await hooks.learnt(hook)
            await hook.receive(hooks.body(hooks.alert("web", labels={"pod": "payment-7d4b9c-x2x9z"})), "alertmanager")
            await hooks.settled(hook)

    asyncio.run(whole())
    details = receiver.bodies[0]["commonAnnotations"]["hypocenter_details"]
    assert "labels name web and payment; taken: web" in details


def test_what_was_said_of_a_young_incident_is_corrected(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("hypocenter.hook.enrich.LOOK_AGAIN_S", (0.05, 0.05))
    workers = hooks.Workers()

    async def steps(hook: Hook, send: Callable[..., Awaitable[None]]) -> None:
        await send(hooks.alert("web"))
        workers.answer |= {"origin": {"entity": "catalog", "kind": "service", "service": "catalog"}}
        workers.answer |= {"headline": "catalog (service) is likely the origin", "chance": "61%"}
        while len(workers.ranked) < 3:
            await asyncio.sleep(0.01)
        await hooks.settled(hook)

    changed = "Changed: catalog (service) is likely the origin (61%), since 22:18:20 UTC"
    assert told(tmp_path, workers, steps) == [FIRST, changed]


def test_an_end_that_comes_while_the_first_ranking_goes_on_is_not_forgotten(tmp_path: Path) -> None:
    workers, receiver = hooks.Workers(), hooks.Receiver()

    async def whole() -> int | None:
        workers.gate = asyncio.Event()
        async with hooks.hook(tmp_path, receiver, workers, deadline=0.3) as hook:
            await hooks.learnt(hook)
            for alert in (hooks.alert("web"), hooks.alert("web", status="resolved")):
                await hook.receive(hooks.body(alert, group="g"), "alertmanager")
            await hooks.settled(hook)
            workers.gate.set()
            while len(receiver.requests) < 3:
                await asyncio.sleep(0.01)
            (incident,) = hook.enricher.incidents
            return incident.resolved_ns

    assert asyncio.run(whole()) is not None


def test_an_incident_that_was_seen_in_part_is_looked_at_at_once_and_what_arrives_meanwhile_may_fit(
    tmp_path: Path,
) -> None:
    workers, receiver = hooks.Workers(is_partial=True, related=["web", "payment"]), hooks.Receiver()

    async def whole() -> list[list[str]]:
        async with hooks.hook(tmp_path, receiver, workers) as hook:
            await hooks.learnt(hook)
            workers.gate, workers.before_gate = asyncio.Event(), 1
            await hook.receive(hooks.body(hooks.alert("web")), "alertmanager")
            while not receiver.requests:
                await asyncio.sleep(0.005)
            await hook.receive(hooks.body(hooks.alert("catalog")), "alertmanager")
            workers.answer |= {"related": ["web", "payment", "catalog"]}
            workers.gate.set()
            await hooks.settled(hook)
            return [incident.services for incident in hook.enricher.incidents]

    assert asyncio.run(whole()) == [["web", "catalog"]]
    assert receiver.summaries == [FIRST, f"Now also catalog: same incident, {ORIGIN}"]
    assert workers.ranked == ["web", "web"]


def test_names_that_could_not_be_learnt_are_asked_for_again(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("hypocenter.hook.enrich._NAMES_KEPT_S", 0.1)

    class Busy(hooks.Workers):
        async def ask(self, urgency: int, kind: str, arguments: dict[str, Any], timeout_s: float) -> dict[str, Any]:
            found = await super().ask(urgency, kind, arguments, timeout_s)
            if len(self.asked) == 1:
                raise RankerError("known: no worker was free")
            return found

    async def whole() -> list[str]:
        async with hooks.hook(tmp_path, hooks.Receiver(), workers) as hook:
            await hooks.learnt(hook)
            return [kind for kind, _ in workers.asked]

    workers = Busy()
    assert asyncio.run(whole()) == ["known", "known"]
