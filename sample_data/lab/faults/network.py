"""Faults of the network between two pods, inside the caller's own network namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .fault import HTTP_EDGES, Fault

if TYPE_CHECKING:
    from ..lab import Lab


class _Edge(Fault):
    granularity, needs_namespaces = "edge", True
    targets: ClassVar[tuple[str, ...]] = (
        "checkout->payment",
        "storefront->catalog",
        "gateway->search",
        "cart->catalog",
        "checkout->cart",
        "gateway->account",
    )


class NetworkDelay(_Edge):
    name = "network-delay"
    meaning = "packets from caller to callee arrive late"
    targets = (*_Edge.targets, *(e for e in HTTP_EDGES if e not in _Edge.targets))
    strength = {"delay_s": (0.3, 0.5)}

    def begin(self, lab: Lab) -> None:
        lab.impair(self, delay_s=self.parameters["delay_s"])

    def end(self, lab: Lab) -> None:
        lab.heal(self)


class PacketLoss(NetworkDelay):
    name = "packet-loss"
    meaning = "a share of the packets from caller to callee is lost; TCP sends them again"
    strength = {"share": (0.25, 0.4)}

    def begin(self, lab: Lab) -> None:
        lab.impair(self, loss=self.parameters["share"])


class Bandwidth(NetworkDelay):
    name = "bandwidth"
    meaning = "the path from caller to callee carries few bytes a second"
    strength = {"bytes_per_s": (900, 1300)}

    def begin(self, lab: Lab) -> None:
        lab.impair(self, bytes_per_s=self.parameters["bytes_per_s"])


class Partition(_Edge):
    name = "partition"
    meaning = "no packet of the caller reaches the callee"

    def begin(self, lab: Lab) -> None:
        lab.route(self, "replace", "blackhole")

    def end(self, lab: Lab) -> None:
        lab.route(self, "del", "blackhole")


class DnsFailure(Fault):
    name, granularity, needs_namespaces = "dns-failure", "pod", True
    meaning = "the name server answers every query of one pod with SERVFAIL"
    targets = ("checkout", "gateway", "search", "storefront", "cart")

    def begin(self, lab: Lab) -> None:
        lab.names.broken.add(lab.cluster.network.address(lab.struck(self).pod.name))

    def end(self, lab: Lab) -> None:
        lab.names.broken.clear()
