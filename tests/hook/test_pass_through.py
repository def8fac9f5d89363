"""The alert goes through: enriched in time, else untouched, once, in order, whatever the ranking does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import hooks
import httpx
import pytest

from hypocenter.errors import DecodeError
from hypocenter.hook.hook import Hook, Overloaded

SUMMARY = "payment (service) is very likely the origin (87%), since 22:18:20 UTC"


def run(folder: Path, receiver: hooks.Receiver, steps: Callable[[Hook], Awaitable[Any]], **more: Any) -> Any:
    async def whole() -> Any:
        async with hooks.hook(folder, receiver, **more) as hook:
            await hooks.learnt(hook)
            result = await steps(hook)
            await hooks.settled(hook)
            return result

    return asyncio.run(whole())


def test_the_first_notification_carries_the_ranking_and_is_otherwise_untouched(tmp_path: Path) -> None:
    receiver = hooks.Receiver()
    sent = hooks.webhook(hooks.alert(), routeLabels={"a": "b"})
    run(tmp_path, receiver, lambda hook: hook.receive(json.dumps(sent).encode(), "alertmanager"))
    (got,) = receiver.bodies
    added = {k: v for k, v in got["commonAnnotations"].items() if k.startswith("hypocenter_")}
    incident = added["hypocenter_incident"]
    assert added == {
        "hypocenter_incident": incident,
        "hypocenter_summary": SUMMARY,
        "hypocenter_details": added["hypocenter_details"],
        "hypocenter_report": f"http://hook.example/incidents/{incident}",
        "hypocenter_outcome": "ranked",
        "hypocenter_origin": "payment",
        "hypocenter_origin_kind": "service",
        "hypocenter_origin_service": "payment",
        "hypocenter_probability": "0.874",
        "hypocenter_onset": "2023-11-14T22:18:20Z",
        "hypocenter_path": "payment -> checkout -> web",
        "hypocenter_look_at": added["hypocenter_look_at"],
        "hypocenter_not_checked": "log lines: no spans joined\n"
        "alert's rule: not known; for 1m and rates over 1m assumed",
    }
    assert added["hypocenter_details"].splitlines() == [
        "Why: its own work takes longer: 28 ms before, 428 ms now",
        added["hypocenter_details"].splitlines()[1],
        "Changed: ScalingReplicaSet payment: scaled up to 1, 40 s before",
        "Look at: the slow traces of payment: where does the time go that is its own?; "
        "run: kubectl rollout history deployment payment",
        "Or else: the way from checkout to payment, 9%; not checked: log lines, alert's rule",
    ]
    assert added["hypocenter_details"].splitlines()[1].startswith("Spread: payment → checkout → web; web: ")
    for owner in (got, *got["alerts"]):
        for found in (owner.get("commonAnnotations"), owner.get("annotations")):
            for name in [n for n in found or () if n.startswith("hypocenter_")]:
                del found[name]
    assert got == sent


def test_a_ranking_beyond_the_deadline_follows_and_the_alert_goes_at_once(tmp_path: Path) -> None:
    receiver, workers = hooks.Receiver(), hooks.Workers()
    workers.gate = asyncio.Event()

    async def steps(hook: Hook) -> tuple[float, int]:
        begin = asyncio.get_running_loop().time()
        await hook.receive(hooks.body(hooks.alert()), "alertmanager")
        await hooks.settled(hook)
        took, sent = asyncio.get_running_loop().time() - begin, len(receiver.requests)
        workers.gate.set()
        while len(receiver.requests) < 2:
            await asyncio.sleep(0.005)
        return took, sent

    took, sent = run(tmp_path, receiver, steps, workers=workers, deadline=0.4)
    assert (0.2 < took < 2, sent, receiver.summaries) == (True, 1, [None, SUMMARY])
    assert receiver.bodies[1]["alerts"][0]["annotations"]["hypocenter_follow_up"] == "true"
    keys = [request.headers["Idempotency-Key"] for request in receiver.requests]
    assert keys[1] == f"{keys[0]}-follow-up-1"


@pytest.mark.parametrize("failure", ["the store is empty", "the worker ended", "no answer within 60 s"])
def test_a_ranking_that_fails_leaves_the_alert_untouched(tmp_path: Path, failure: str) -> None:
    receiver, workers = hooks.Receiver(), hooks.Workers()
    workers.failure = failure
    sent = hooks.webhook(hooks.alert())

    async def steps(hook: Hook) -> None:
        await hook.receive(json.dumps(sent).encode(), "alertmanager")

    async def whole() -> None:
        async with hooks.hook(tmp_path, receiver, workers) as hook:
            await steps(hook)
            await hooks.settled(hook)

    asyncio.run(whole())
    assert receiver.bodies == [sent]


def test_what_the_hook_itself_raised_is_not_enriched_again(tmp_path: Path) -> None:
    receiver, workers = hooks.Receiver(), hooks.Workers()
    sent = hooks.webhook(hooks.alert(labels={"hypocenter_incident": "20261124-1"}))
    run(
        tmp_path,
        receiver,
        lambda hook: hook.receive(json.dumps(sent).encode(), "alertmanager"),
        workers=workers,
    )
    assert (receiver.bodies, workers.ranked) == ([sent], [])


def test_a_redelivery_is_sent_once_and_a_reminder_passes(tmp_path: Path) -> None:
    receiver = hooks.Receiver()

    async def steps(hook: Hook) -> list[str]:
        said = [await hook.receive(hooks.body(hooks.alert()), "alertmanager") for _ in range(2)]
        await hooks.settled(hook)
        said.append(await hook.receive(hooks.body(hooks.alert()), "alertmanager"))
        await asyncio.sleep(0.5)
        said.append(await hook.receive(hooks.body(hooks.alert()), "alertmanager"))
        return said

    said = run(tmp_path, receiver, steps, duplicate_window=0.4)
    assert said == ["accepted", "duplicate", "duplicate", "accepted"]
    assert receiver.summaries == [SUMMARY, "Still firing: origin payment (service), since 22:18:20 UTC"]


def test_order_of_a_group_is_kept_while_its_receiver_stumbles(tmp_path: Path) -> None:
    answers = iter([500, 200, 503, 503, 200, 200])
    receiver = hooks.Receiver(lambda _: httpx.Response(next(answers)))

    async def steps(hook: Hook) -> None:
        for number in range(3):
            await hook.receive(hooks.body(hooks.alert(name=f"A{number}"), group="one"), "alertmanager")

    run(tmp_path, receiver, steps)
    names = [got["alerts"][0]["labels"]["alertname"] for got in receiver.bodies]
    assert names == ["A0", "A0", "A1", "A1", "A1", "A2"]


def test_a_refusal_is_a_dead_letter_and_holds_nothing_up(tmp_path: Path) -> None:
    receiver = hooks.Receiver(lambda r: httpx.Response(400 if b'"A0"' in r.content else 200, text="bad payload"))

    async def steps(hook: Hook) -> list[Any]:
        for number in range(2):
            await hook.receive(hooks.body(hooks.alert(name=f"A{number}"), group="one"), "alertmanager")
        await hooks.settled(hook)
        return [letter.content for letter in hook.dead]

    (letter,) = run(tmp_path, receiver, steps)
    assert (letter["sink"], letter["reason"]) == ("next", "HTTP 400: bad payload")
    assert letter["enrichment"]["summary"] == SUMMARY
    assert len(receiver.requests) == 2


def test_a_full_queue_is_refused_for_later(tmp_path: Path) -> None:
    receiver = hooks.Receiver(lambda _: httpx.Response(503))

    async def whole() -> str:
        retry = {"first": 0.01, "longest": 0.02, "give_up": 0.2}
        async with hooks.hook(tmp_path, receiver, limits={"queue": 1}, retry=retry) as hook:
            await hook.receive(hooks.body(hooks.alert()), "alertmanager")
            try:
                await hook.receive(hooks.body(hooks.alert("cart")), "alertmanager")
            except Overloaded as error:
                return str(error)
        return ""

    assert asyncio.run(whole()) == "1 notifications wait for their receivers"


def test_without_a_journal_the_sender_hears_200_only_after_the_delivery(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be", encoding="utf-8")
    receiver = hooks.Receiver()

    async def whole() -> int:
        async with hooks.hook(tmp_path, receiver) as hook:
            await hook.receive(hooks.body(hooks.alert()), "alertmanager")
            return len(receiver.requests)

    assert asyncio.run(whole()) == 1


def test_what_was_accepted_and_not_delivered_comes_after_a_restart_with_its_key(tmp_path: Path) -> None:
    down, up = hooks.Receiver(lambda _: httpx.Response(503)), hooks.Receiver()

    async def first() -> None:
        hook = hooks.hook(tmp_path, down, retry={"first": 30})
        await hook.__aenter__()
        await hook.receive(hooks.body(hooks.alert()), "alertmanager")
        while not down.requests:
            await asyncio.sleep(0.005)
        await hook.dispatcher.stop(grace_s=0)
        await hook.__aexit__()

    asyncio.run(first())
    run(tmp_path, up, lambda hook: hooks.settled(hook))
    assert [r.headers["Idempotency-Key"] for r in up.requests] == [down.requests[0].headers["Idempotency-Key"]]


def test_the_end_waits_for_what_is_on_its_way(tmp_path: Path) -> None:
    delivered: list[bytes] = []

    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.3)
        delivered.append(request.content)
        return httpx.Response(200)

    async def whole() -> int:
        running = Hook(hooks.config(tmp_path), workers=hooks.Workers(), transport=httpx.MockTransport(slow))
        async with running as hook:
            await hook.receive(hooks.body(hooks.alert()), "alertmanager")
        assert len(delivered) == 1
        async with hooks.hook(tmp_path, hooks.Receiver()) as later:
            return len(later.dispatcher.pending)

    assert asyncio.run(whole()) == 0


def test_garbage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DecodeError):
        run(tmp_path, hooks.Receiver(), lambda hook: hook.receive(b"[]", "alertmanager"))
