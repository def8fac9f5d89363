"""Holds back, loses or slows the packets of one pod to some addresses; run inside the pod's network namespace.

``python relay.py SOURCE ADDRESSES DELAY_S LOSS BYTES_PER_S``: the addresses are routed into a TUN device, read here,
and sent on by the pod's interface. When this process ends, device and routes go with it and packets flow as before.
"""

from __future__ import annotations

import fcntl
import heapq
import random
import select
import socket
import struct
import subprocess
import sys
import time

_TUNSETIFF, _TUN_NO_INFO = 0x400454CA, 0x1001
_SO_BINDTODEVICE = 25
_QUEUE_BYTES = 30_000


def main() -> None:
    """Relay for ever."""
    source, addresses, *numbers = sys.argv[1:]
    delay_s, loss, bytes_per_s = map(float, numbers)
    device = open("/dev/net/tun", "r+b", buffering=0)  # noqa: SIM115, PTH123
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"impair0", _TUN_NO_INFO))
    out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    out.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, b"eth0")
    lines = ["link set impair0 up", *(f"route add {a}/32 dev impair0 src {source}" for a in addresses.split(","))]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
    waiting: list[tuple[float, int, bytes]] = []
    free_at, number = 0.0, 0
    while True:
        until = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        if select.select([device], [], [], until)[0]:
            packet, now = device.read(65536), time.monotonic()
            is_ipv4 = packet[0] >> 4 == 4  # the kernel greets a new interface in IPv6
            if is_ipv4 and random.random() >= loss:
                due = now + delay_s
                if bytes_per_s:
                    # A full queue drops, as a router's does.
                    if (max(free_at, now) - now) * bytes_per_s > _QUEUE_BYTES:
                        continue
                    free_at = due = max(free_at, now) + len(packet) / bytes_per_s
                number += 1
                heapq.heappush(waiting, (due, number, packet))
        while waiting and waiting[0][0] <= time.monotonic():
            packet = heapq.heappop(waiting)[2]
            out.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))


main()
