"""Where everything listens on this machine: DESIGN's ports, or the same row from another base."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass

DEFAULT_BASE = 9322
DEFAULT_FAKECLOUD = 15000
ROW_LENGTH = 8
METRICS_OFFSET = 100
LAST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """A row of ports: gateway, api HTTP, api gRPC, collector, decision, applier, scoring, admin."""

    base: int = DEFAULT_BASE
    fakecloud: int = DEFAULT_FAKECLOUD

    @property
    def gateway(self) -> int:
        """Envoy's listener: REST and gRPC for everyone outside."""
        return self.base

    @property
    def api_http(self) -> int:
        """Api's ASGI door."""
        return self.base + 1

    @property
    def admin(self) -> int:
        """Envoy's own admin interface, loopback only."""
        return self.base + 7

    def grpc(self, service: str) -> int:
        """The gRPC port of a service by its name."""
        order = ("api", "collector", "decision", "applier", "scoring")
        return self.base + 2 + order.index(service)

    def address(self, service: str) -> str:
        """host:port of a service's gRPC."""
        return f"127.0.0.1:{self.grpc(service)}"

    def taken(self) -> list[int]:
        """Which of these ports something already listens on."""
        wanted = [*range(self.base, self.base + ROW_LENGTH), self.fakecloud]
        return [port for port in wanted if _answers(port)]


def free_row() -> Ports:
    """A row of free ports, for tests and for several systems on one machine."""
    rows = range(20322, 32000, 40)  # below the ports that the kernel gives to clients
    first = random.randrange(len(rows))  # noqa: S311, so that two who look at once seldom meet
    for base in (*rows[first:], *rows[:first]):
        ports = Ports(base=base, fakecloud=base + 20)
        with_metrics = [base + 102 + i for i in range(5)]
        if not ports.taken() and not any(_answers(port) for port in with_metrics):
            return ports
    raise RuntimeError("no row of free ports between 20322 and 32000")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
