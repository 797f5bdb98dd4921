"""A small Nova in memory: servers that take time to move, refusals, and a ledger of all writes.

Keeps the promises of `NovaWrites`; `test_nova_contract` holds it and the client on the emulated
cloud to the same tests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime

from trimtab_common.domain.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    TrimtabError,
    Unavailable,
)
from trimtab_common.openstack.nova_writes import (
    MigrationView,
    OutcomeUnknown,
    ServerView,
    ServiceView,
)
from trimtab_common.runtime.clock import Clock

LIVE = "live-migration"


@dataclasses.dataclass
class _Move:
    number: int
    server: str
    kind: str
    source: str
    destination: str
    ends_at: float
    updated_at: datetime
    status: str = "running"


class FakeNova:
    def __init__(self, clock: Clock, *, move_s: float = 20.0) -> None:
        self.clock = clock
        self.move_s = move_s
        self.hosts: dict[str, ServiceView] = {}
        self.all: dict[str, ServerView] = {}
        self.moves: list[_Move] = []
        self.flavors = {"m1": "flavor-1", "m2": "flavor-2"}
        self.ledger: list[tuple[str, str]] = []
        self.doomed: set[str] = set()
        self.lose_answers: list[str] = []
        """Of the next writes: "before" (Nova never got it) or "after" (it did)."""
        self.bulk_reads = 0
        self.down = False
        self.unusable: TrimtabError | None = None

    def add_hosts(self, *names: str) -> None:
        for name in names:
            self.hosts[name] = ServiceView(
                uuid=f"service-{name}", host=name, status="enabled", state="up"
            )

    def add_server(self, uuid: str, host: str, status: str = "ACTIVE") -> None:
        vm_state = {"SHUTOFF": "stopped"}.get(status, status.lower())
        self.all[uuid] = ServerView(
            uuid=uuid, host=host, status=status, task_state=None, vm_state=vm_state, flavor="m1"
        )

    def moves_of(self, uuid: str) -> list[_Move]:
        return [move for move in self.moves if move.server == uuid]

    # reads

    async def check(self) -> None:
        if self.unusable is not None:
            raise self.unusable

    async def changed_servers(self, *, since: datetime) -> Mapping[str, ServerView]:
        del since
        self._tick()
        return dict(self.all)

    async def server(self, uuid: str) -> ServerView | None:
        self._tick()
        return self.all.get(uuid)

    async def servers(self, uuids: Iterable[str], *, since: datetime) -> Mapping[str, ServerView]:
        del since
        self._tick()
        return {uuid: self.all[uuid] for uuid in uuids if uuid in self.all}

    async def migrations(self, *, since: datetime) -> list[MigrationView]:
        self._tick()
        self.bulk_reads += 1
        return [_view(move) for move in self.moves if move.updated_at >= since]

    async def migrations_of(self, server: str) -> list[MigrationView]:
        self._tick()
        return [_view(move) for move in self.moves_of(server)]

    async def compute_services(self) -> list[ServiceView]:
        self._tick()
        return list(self.hosts.values())

    async def hypervisor_host(self, uuid: str) -> str | None:
        return uuid.removeprefix("hypervisor-") if uuid.startswith("hypervisor-") else None

    async def servers_on(self, host: str) -> int:
        self._check_up()
        return sum(server.host == host for server in self.all.values())

    async def flavor_id(self, ident: str) -> str | None:
        return ident if ident in self.flavors.values() else self.flavors.get(ident)

    # writes

    async def live_migrate(self, server: str, host: str | None) -> None:
        self._write("live_migrate", server, lambda: self._start(server, host, LIVE, "migrating"))

    async def cold_migrate(self, server: str, host: str | None) -> None:
        self._write(
            "cold_migrate", server, lambda: self._start(server, host, "migration", "resize_prep")
        )

    async def resize(self, server: str, flavor: str) -> None:
        if flavor not in self.flavors.values():
            raise InvalidArgument("Unable to locate requested flavor.")
        self._write("resize", server, lambda: self._start(server, None, "resize", "resize_prep"))

    async def confirm_resize(self, server: str) -> None:
        def confirm() -> None:
            if self._known(server).status != "VERIFY_RESIZE":
                raise Conflict("Cannot 'confirmResize' instance: not in VERIFY_RESIZE")
            self._set(server, status="ACTIVE", vm_state="active")
            self._touch(self.moves_of(server)[-1], "confirmed")

        self._write("confirm_resize", server, confirm)

    async def abort_live_migration(self, server: str, number: int) -> None:
        def abort() -> None:
            if self._known(server).task_state is None:
                raise Conflict("Cannot 'abort live migration' while it is in task_state None")
            move = next((m for m in self.moves_of(server) if m.number == number), None)
            if move is None or move.status != "running":
                raise NotFound(f"In-progress live migration {number} is not found")
            self._touch(move, "cancelled")
            self._set(server, task_state=None, status="ACTIVE")

        self._write("abort_live_migration", server, abort)

    async def stop(self, server: str) -> None:
        def stop() -> None:
            if self._known(server).vm_state == "stopped":
                raise Conflict("Cannot 'stop' instance while it is in vm_state stopped")
            self._set(server, status="SHUTOFF", vm_state="stopped")

        self._write("stop", server, stop)

    async def start(self, server: str) -> None:
        def start() -> None:
            if self._known(server).vm_state != "stopped":
                raise Conflict("Cannot 'start' instance while it is not in vm_state stopped")
            self._set(server, status="ACTIVE", vm_state="active")

        self._write("start", server, start)

    async def set_service_status(
        self, service: str, *, enabled: bool, reason: str | None
    ) -> ServiceView:
        host = next((h for h in self.hosts.values() if h.uuid == service), None)
        if host is None:
            raise NotFound(f"Service {service} could not be found.")
        after = dataclasses.replace(
            host,
            status="enabled" if enabled else "disabled",
            disabled_reason=None if enabled else reason,
        )

        def change() -> None:
            self.hosts[host.host] = after

        self._write("set_service_status", host.host, change)
        return after

    # the inside

    def _known(self, server: str) -> ServerView:
        self._tick()
        if server not in self.all:
            raise NotFound(f"Instance {server} could not be found.")
        return self.all[server]

    def _set(self, server: str, **values: object) -> None:
        self.all[server] = dataclasses.replace(self.all[server], **values)

    def _touch(self, move: _Move, status: str) -> None:
        move.status, move.updated_at = status, self.clock.now()

    def _write(self, what: str, server: str, do) -> None:
        lost = self.lose_answers.pop(0) if self.lose_answers else ""
        if lost == "before":
            raise OutcomeUnknown("no answer")
        do()
        self.ledger.append((what, server))
        if lost == "after":
            raise OutcomeUnknown("no answer")

    def _start(self, server: str, host: str | None, kind: str, task_state: str) -> None:
        view = self._known(server)
        if view.task_state is not None:
            raise Conflict(f"Cannot move instance while it is in task_state {view.task_state}")
        if host is not None and host not in self.hosts:
            raise InvalidArgument(f"Compute host {host} could not be found.")
        others = [name for name in self.hosts if name != view.host]
        self._set(server, task_state=task_state, status="MIGRATING" if kind == LIVE else "RESIZE")
        self.moves.append(
            _Move(
                number=len(self.moves) + 1,
                server=server,
                kind=kind,
                source=str(view.host),
                destination=host or others[0],
                ends_at=self.clock.monotonic() + self.move_s,
                updated_at=self.clock.now(),
            )
        )

    def _tick(self) -> None:
        if self.down:
            raise Unavailable("Nova is away")
        for move in self.moves:
            if move.status != "running" or move.ends_at > self.clock.monotonic():
                continue
            if move.server in self.doomed:
                self._touch(move, "error")
                self._set(move.server, task_state=None, status="ACTIVE")
            elif move.kind == LIVE:
                self._touch(move, "completed")
                self._set(move.server, task_state=None, status="ACTIVE", host=move.destination)
            else:
                self._touch(move, "finished")
                self._set(
                    move.server,
                    task_state=None,
                    status="VERIFY_RESIZE",
                    vm_state="resized",
                    host=move.destination,
                )


def _view(move: _Move) -> MigrationView:
    return MigrationView(
        number=move.number,
        server=move.server,
        kind=move.kind,
        status=move.status,
        source=move.source,
        destination=move.destination,
    )
