"""A fake cloud that changes as fast as it is told: the traffic of the model stream's ordeal.

Runs as a process of its own. Commands are lines of JSON on stdin, each answered by one line:
``{"churn": 500}`` starts changing, as often a second; ``{"stop": true}`` ends it; ``{"hosts_die": 3}`` switches hosts off, of which
no notification tells, ``{"truth": true}`` gives what there is. Every change is of something that the
model holds, and Nova's notification of it goes to RabbitMQ.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from trimtab_fakecloud.compute.lifecycle import NewServer
from trimtab_fakecloud.compute.records import Caller
from trimtab_fakecloud.main import write_clouds_yaml
from trimtab_fakecloud.running import FakeCloud, running_fakecloud
from trimtab_fakecloud.servers import Server, TaskState, VmState
from trimtab_fakecloud.settings import CloudSpec

TICK_S = 0.01
TURN = 10
AHEAD = 500
"""Notifications that may wait for the broker. A cloud that runs further ahead of its own bus makes changes of which
polls tell first: then all notifications of them come too late and the stream tests nothing."""
POWER_S = 0.01
_KINDS = {"lock": 70, "move": 12, "power": 8, "create": 3, "delete": 3, "service": 4}


class Churn:
    """Changes the cloud, one element at a time; `done` counts."""

    def __init__(self, cloud: FakeCloud, seed: int) -> None:
        self._cloud = cloud.state
        self._sender = cloud.sender
        self._lifecycle = cloud.compute.lifecycle
        self._caller = Caller(cloud.state.identity.login("member", "secret"), "churn")
        self._random = random.Random(seed)
        self._usable = list(cloud.state.servers)
        self.done = 0
        self.held_back = 0
        """Ticks at which the broker was too far behind for the next change."""

    @property
    def _is_ahead(self) -> bool:
        return self._sender is not None and self._sender.waiting >= AHEAD

    async def run(self, per_s: float) -> None:
        """Changes until it is cancelled."""
        owed, seen = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            owed, seen = min(owed + (now - seen) * per_s, per_s / 4), now
            while owed >= 1 and not self._is_ahead:
                owed -= 1
                self.one()
                if self.done % TURN == 0:
                    await asyncio.sleep(0)  # who reads the cloud, and the sender, have their turns
            self.held_back += owed >= 1

    def one(self) -> None:
        (kind,) = self._random.choices(list(_KINDS), list(_KINDS.values()))
        getattr(self, f"_{kind}")()
        self.done += 1

    def hosts_die(self, number: int) -> None:
        """Switches hosts off, or on again; polls alone see it, several in one delta."""
        for name in self._random.sample(sorted(self._cloud.hosts), number):
            host = self._cloud.hosts[name]
            host.is_up = not host.is_up
            self._cloud.host_updated(host)

    def truth(self) -> dict[str, Any]:
        living = [s for s in self._cloud.servers.values() if not s.is_deleted]
        return {
            "servers": {s.id: [s.host, s.vm_state.value, s.locked] for s in living},
            "hosts": {h.name: [h.is_up, not h.disabled] for h in self._cloud.hosts.values()},
        }

    def _server(self) -> Server:
        while True:
            place = self._random.randrange(len(self._usable))
            server = self._cloud.servers[self._usable[place]]
            if not server.is_deleted and server.task_state is None:
                return server

    def _lock(self) -> None:
        server = self._server()
        if server.locked:
            self._lifecycle.unlock(server)
        else:
            self._lifecycle.lock(server, None)

    def _move(self) -> None:
        server = self._server()
        hosts = list(self._cloud.hosts.values())
        target = self._random.choice(hosts)
        fits = self._cloud.allocations.fits(target, server.flavor.resources)
        if target.name == server.host or not fits:
            self._lock()
            return
        server.task_state = TaskState.MIGRATING
        self._cloud.touch(server)
        self._cloud.allocations.release(server.id)
        self._cloud.allocations.claim(server.id, target, server.flavor.resources)
        server.task_state = None
        self._cloud.place(server, target.name)

    def _power(self) -> None:
        server = self._server()
        on = server.vm_state is VmState.STOPPED
        server.task_state = TaskState.POWERING_ON if on else TaskState.POWERING_OFF
        self._cloud.touch(server)
        server.vm_state, server.task_state = VmState.ACTIVE if on else VmState.STOPPED, None
        self._cloud.touch(server)

    def _create(self) -> None:
        flavor = self._random.choice(list(self._cloud.flavors.values()))
        server = self._lifecycle.create(NewServer("churned", flavor), self._caller)
        if server.host is None:
            self._cloud.remove(server)
            self._lock()
        else:
            self._usable.append(server.id)

    def _delete(self) -> None:
        server = self._server()
        self._usable.remove(server.id)
        self._cloud.remove(server)

    def _service(self) -> None:
        host = self._random.choice(list(self._cloud.hosts.values()))
        host.disabled = not host.disabled
        host.disabled_reason = "churned" if host.disabled else None
        self._cloud.host_updated(host)


async def serve(options: argparse.Namespace) -> None:
    spec = CloudSpec(
        hosts=options.hosts,
        servers=options.servers,
        seed=options.seed,
        power_s=POWER_S,
        rabbit_url=options.rabbit_url,
        notification_exchange=options.exchange,
    )
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    running: asyncio.Task[None] | None = None
    async with running_fakecloud(spec) as cloud:
        write_clouds_yaml(cloud, options.clouds_yaml)
        churn = Churn(cloud, options.seed)
        _say({"ready": cloud.base_url})
        while line := await lines.readline():
            match json.loads(line):
                case {"churn": per_s}:
                    running = asyncio.create_task(churn.run(float(per_s)))
                    _say({"done": churn.done})
                case {"stop": True} if running is not None:
                    running.cancel()
                    _say({"done": churn.done, "held_back": churn.held_back})
                case {"hosts_die": int(number)}:
                    churn.hosts_die(number)
                    _say({"done": churn.done})
                case {"truth": True}:
                    _say(churn.truth())


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rabbit-url", required=True)
    parser.add_argument("--exchange", required=True)
    parser.add_argument("--clouds-yaml", type=Path, required=True)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
