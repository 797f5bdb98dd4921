"""The system under siege: real processes, one or two appliers, services armed, killed and started again."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.processes import Child
from trimtab_cli.system import System, running
from trimtab_common.runtime import failpoints, identity

READY_S = 240.0
SECOND = "applier-2"
CONFIG = """
[nova]
migration_interval = 0.3
http_retry_interval = 1
[watcher_planners.weight]
parallelization = migrate:6
"""
CLOUD = ("--hosts", "10", "--servers", "80", "--seed", "11", "--migration-seconds", "0.3")
FAILURES = ("--fail-ratio", "0.1", "--max-live-migrations", "4")
READ_FAULT = {"service": "compute", "method": "GET", "status": 503, "ratio": 0.03}


@dataclass(frozen=True, slots=True)
class Shot:
    """A failpoint that fired."""

    child: str
    at: float


class Site:
    """A running system and the means to hurt it."""

    def __init__(self, system: System, starter: ThreadPoolExecutor, *, appliers: int) -> None:
        self.system = system
        self.http = httpx.Client(
            base_url=system.url,
            timeout=20,
            headers={"OpenStack-API-Version": "infra-optim latest"},
        )
        self.control = httpx.Client(base_url=f"{system.fakecloud_url}/control", timeout=20)
        self.control.put("/faults", json={"requests": [READ_FAULT]})
        self._starter = starter
        self._orders, self._token = _order_files(system.spec.state_dir)
        self.names = list(_NAMES)
        self.appliers = ["applier"]
        if appliers > 1:
            self._start_second()

    def _start_second(self) -> None:
        """Another host, as far as leases can tell: only time proves the end of one to the other."""
        folder, port = self.system.spec.state_dir, self.system.ports.base + 28
        config = folder / "applier-2.conf"
        config.write_text(f"[DEFAULT]\nhost = {SECOND}\n[trimtab]\napplier = 127.0.0.1:{port}\n")
        first = self.system.child("applier")
        self.system.supervisor.add(
            Child(
                SECOND,
                [*first.command, f"--config-file={config}"],
                folder / "logs" / "applier-2.log",
                {**first.environment, identity.PLAYED: "2"},
            )
        )
        self.appliers.append(SECOND)
        self.names.append(SECOND)
        self._await(SECOND)

    def child(self, name: str) -> Child:
        return self.system.child(name)

    def arm(self, service: str, order: str, *, at_start: bool = False) -> None:
        """Arms a service; of two appliers both, and the first that gets there fires.

        `at_start`: it is started for it, and may die before it serves.
        """
        self._token.unlink(missing_ok=True)
        self._orders.write_text(order)
        for name in self.appliers if service == "applier" else [service]:
            if at_start:
                self._end(name)
                self._start(name)
            else:
                self._tell(name)

    def disarm(self) -> None:
        """Nothing is armed any more, and all run."""
        self._orders.write_text("")
        for name in self.names:
            if self.child(name).pid:
                os.kill(self.child(name).pid, signal.SIGCONT)
                os.kill(self.child(name).pid, signal.SIGUSR2)
            else:
                self.restart(name)

    def forget_shot(self) -> None:
        """What fired in the run before is over; nothing is armed now."""
        self._token.unlink(missing_ok=True)

    def _tell(self, name: str) -> None:
        log, offset = self.child(name).log, self.child(name).log.stat().st_size
        os.kill(self.child(name).pid, signal.SIGUSR2)

        def is_armed() -> bool:
            return b"failpoint armed" in log.read_bytes()[offset:]

        eventually(is_armed, READY_S, f"{name} is not armed")

    def restart(self, name: str) -> float:
        """Starts a service again; the monotonic time from which it serves."""
        self._end(name)
        self._start(name)
        self._await(name)
        return time.monotonic()

    def shot(self) -> Shot | None:
        """The failpoint that fired since `arm`, if one did."""
        if not self._token.exists() or not (text := self._token.read_text()).endswith("\n"):
            return None
        pid, at = int(text.split()[1]), float(text.split()[2])
        name = next(c.name for c in self.system.supervisor.children if _pid(c) == pid)
        return Shot(name, time.monotonic() - (time.time() - at))

    def continue_(self, name: str) -> None:
        """Wakes a service that was stopped."""
        os.kill(self.child(name).pid, signal.SIGCONT)

    def held_leases(self) -> list[Any]:
        """On SQLite: leases that somebody who lives holds. Those of the dead are free, and decision's
        upkeep removes them."""
        path = self.system.spec.state_dir / "trimtab.db"
        if not path.exists():
            return []
        connection = sqlite3.connect(path)
        try:
            held = connection.execute("SELECT kind, uuid, owner FROM leases WHERE owner != ''")
            return [(kind, uuid) for kind, uuid, owner in held if not identity.has_ended(owner)]
        finally:
            connection.close()

    def close(self) -> None:
        self.http.close()
        self.control.close()

    def _start(self, name: str) -> None:
        """In a thread that stays: a child is told to end when the thread that started it does."""
        self._starter.submit(self.child(name).start).result()

    def _end(self, name: str) -> None:
        child = self.child(name)
        if child.pid:
            child.process.kill()
        if child.process is not None:
            child.process.wait(10)

    def _await(self, name: str) -> None:
        port = self.system.ports.base + 28 if name == SECOND else self.system.ports.grpc(name)

        def serves() -> bool:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                try:
                    answer = health_pb2_grpc.HealthStub(channel).Check(
                        health_pb2.HealthCheckRequest(), timeout=2
                    )
                except grpc.RpcError:
                    return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        eventually(serves, READY_S, f"{name} does not serve")


_NAMES = ("collector", "decision", "applier", "api")


def _order_files(state: Path) -> tuple[Path, Path]:
    """Where the orders stand, and what the process that fired leaves."""
    return state / "failpoints", state / "fired"


def _pid(child: Child) -> int:
    return child.process.pid if child.process else 0


def eventually(is_so: Callable[[], bool], limit_s: float, otherwise: str) -> float:
    """Waits; how long it took. TimeoutError past the limit."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > limit_s:
            raise TimeoutError(f"{otherwise} within {limit_s:g} s")
        time.sleep(0.05)
    return time.monotonic() - began


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """What the services are started with."""
    os.environ |= values
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


@contextmanager
def besieged(state: Path, *, appliers: int, database: str | None) -> Iterator[Site]:
    """A system for a campaign; logs stay in `state`."""
    spec = SystemSpec(
        state_dir=state,
        ports=ports.free_row(),
        fakecloud_args=(*CLOUD, *FAILURES),
        extra_config=CONFIG,
        database=database,
        ready_timeout_s=READY_S,
    )
    orders, token = _order_files(state)
    orders.write_text("")
    ours = {failpoints.VARIABLE: f"@{orders}", failpoints.ONCE: str(token)}
    with ExitStack() as stack:
        stack.enter_context(_environment(ours))
        starter = stack.enter_context(ThreadPoolExecutor(1))
        system = stack.enter_context(running(spec, say=lambda _line: None))
        site = Site(system, starter, appliers=appliers)
        try:
            yield site
        finally:
            for name in site.appliers:  # a stopped one does not hear SIGTERM
                if site.child(name).pid:
                    site.continue_(name)
            site.close()
