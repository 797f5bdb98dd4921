"""Asks Nova again for single elements: hosts that appeared, servers whose events are in doubt.

What is wanted is collected for a moment, so that a burst is one read. A host that Nova does not list
yet is asked for again, ever more rarely (C-062); the polls go on looking for it after that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Collection, Sequence
from typing import Any, Protocol

import structlog

from trimtab_collector.live_model import Delta, LiveContent
from trimtab_collector.notifications.inbox import Inbox, Wanted
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.runtime import logs
from trimtab_common.runtime.clock import Clock
from trimtab_common.runtime.waiting import first_of

log = structlog.get_logger(__name__)
COLLECT_S = 1.0
_WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
MOST_SERVERS = 100


class ElementSource(Protocol):
    """Where single elements are read: `ComputeReader`, another model's reader, or a fake."""

    async def read_elements(
        self, model: Any, *, servers: Collection[str], hosts: Collection[str]
    ) -> Sequence[Any]:
        """These servers and hosts as they are; nothing for a host that is not there."""
        ...


class Rereads:
    """The loop. One task runs `run`."""

    def __init__(
        self, live: LiveContent[Any], source: ElementSource, inbox: Inbox, clock: Clock
    ) -> None:
        self._live = live
        self._source = source
        self._inbox = inbox
        self._clock = clock
        self._tries: Counter[str] = Counter()
        self._later: dict[str, tuple[float, Wanted]] = {}

    async def run(self) -> None:
        """Reads what is wanted until cancelled."""
        wanted = self._inbox.wanted
        while True:
            waits: list[Awaitable[object]] = [wanted.asked.wait()]
            if self._later:
                due_at = min(at for at, _ in self._later.values())
                waits.append(self._clock.sleep(max(0.0, due_at - self._clock.monotonic())))
            await first_of(*waits)
            if wanted.asked.is_set():
                await self._clock.sleep(COLLECT_S)
            logs.bind_request_id()
            await self.step()

    async def step(self) -> None:
        """One read of all that is wanted or due again."""
        self._take_due()
        servers, hosts = self._inbox.wanted.take()
        if len(servers) > MOST_SERVERS:
            self._inbox.ask_resync()
            return
        if not servers and not hosts:
            return
        model = self._live.model
        try:
            with self._inbox.reading() as reading:
                changes = await self._source.read_elements(model, servers=servers, hosts=hosts)
                changes = self._inbox.current(reading, changes)
                self._live.publish([Delta(changes=changes, cause="reread")])
                self._inbox.listed(changes)
        except TrimtabError as error:
            log.warning("cannot read again", problem=error.message, servers=len(servers))
            self._again(servers, hosts)
        else:
            missing = {name for name in hosts if not self._live.knows(name)}
            for name in servers | (hosts - missing):
                self._tries.pop(name, None)
            self._again(set(), missing)

    def _take_due(self) -> None:
        now = self._clock.monotonic()
        for name, (due_at, wanted) in list(self._later.items()):
            if due_at <= now:
                del self._later[name]
                self._inbox.wanted.add(wanted.servers, wanted.hosts)

    def _again(self, servers: set[str], hosts: set[str]) -> None:
        now = self._clock.monotonic()
        for name in servers | hosts:
            tries = self._tries[name]
            if tries == len(_WAITS_S):
                del self._tries[name]
                log.info("left to the polls", element=name)
                continue
            self._tries[name] += 1
            wanted = Wanted(servers={name} & servers, hosts={name} & hosts)
            self._later[name] = (now + _WAITS_S[tries], wanted)
