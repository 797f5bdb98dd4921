"""Keeps the live model equal to the cloud: a full read at start and every period, polls between.

A failed read changes nothing: the last good content stays and its age shows, until it is too old
and says so itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from trimtab_collector import counters
from trimtab_collector.compute.reading import FullRead, IncrementalRead
from trimtab_collector.live_model import Delta, LiveModel
from trimtab_collector.notifications.inbox import Inbox
from trimtab_common.domain.changes import SetHealth
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import TrimtabError, Unavailable
from trimtab_common.runtime import logs
from trimtab_common.runtime.clock import Clock
from trimtab_common.runtime.waiting import first_of

log = structlog.get_logger(__name__)
_RETRY_AFTER_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_FULL_AFTER_GAP_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """How often. period_s: between full reads; poll_interval_s: between polls.

    quiet_poll_interval_s: between polls while notifications flow; they still see the hosts that
    died, of which Nova sends no notification (C-061).

    thorough_every: polls until one that also looks at aggregates and unanswered inventories.
    stale_after_s: how long the cloud may not answer before the model calls itself stale (C-009).
    """

    period_s: float = 3600.0
    poll_interval_s: float = 2.0
    quiet_poll_interval_s: float = 30.0
    thorough_every: int = 15
    stale_after_s: float = 300.0


class Source(Protocol):
    """Where the model comes from: `ComputeReader`, or a fake."""

    async def read_all(self, model: ComputeModel) -> FullRead:
        """The whole cloud."""
        ...

    async def read_changes(
        self, model: ComputeModel, since: datetime, *, thorough: bool
    ) -> IncrementalRead:
        """What changed."""
        ...


class ComputeSync:
    """The loop. One task runs `run`; `refresh` asks it for a full read now."""

    def __init__(
        self,
        live: LiveModel,
        source: Source,
        clock: Clock,
        settings: SyncSettings,
        inbox: Inbox | None = None,
    ) -> None:
        self._live = live
        self._source = source
        self._clock = clock
        self._settings = settings
        self._inbox = inbox or Inbox(live, clock)
        self._resyncs_done = 0
        self._since: datetime | None = None
        self._full_at = 0.0
        self._good_at = 0.0
        self._failures = 0
        self._polls = 0
        self._asked = asyncio.Event()
        self._askers: list[asyncio.Future[None]] = []

    async def run(self) -> None:
        """Reads until cancelled."""
        while True:
            logs.bind_request_id()
            await self.step()
            await self._pause()

    async def refresh(self) -> None:
        """Returns when a full read that began after this call is applied; raises its error."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._askers.append(done)
        self._asked.set()
        await done

    async def step(self) -> None:
        """One read, whichever is due; failures are recorded, not raised."""
        self._asked.clear()
        askers, self._askers = self._askers, []
        self._inbox.attention.clear()
        try:
            if askers or self._full_is_due():
                await self._read_all()
            else:
                await self._read_changes()
        except TrimtabError as error:
            self._failed(error)
            _answer(askers, error)
        else:
            self._failures = 0
            self._good_at = self._clock.monotonic()
            _answer(askers, None)
        finally:
            _answer(askers, Unavailable("The read was interrupted."))

    def _full_is_due(self) -> bool:
        now = self._clock.monotonic()
        return (
            self._since is None
            or self._resyncs_done != self._inbox.resyncs_asked
            or now - self._full_at >= self._settings.period_s
            or now - self._good_at >= _FULL_AFTER_GAP_S
        )

    async def _read_all(self) -> None:
        began, resyncs = self._clock.monotonic(), self._inbox.resyncs_asked
        model = self._live.model
        with self._inbox.reading() as reading, counters.SYNC_SECONDS.time():
            read = self._inbox.replay(reading, await self._source.read_all(model))
        changes = model.changes_to(read.hosts, read.servers, read.aggregates, read.health)
        self._live.publish([Delta(changes=changes, cause="sync")])
        self._inbox.read_in_full(read)
        self._resyncs_done = resyncs
        self._live.mark_synced(full=True)
        self._live.mark_built()
        self._since, self._full_at = read.since, began
        counters.observe(model)
        log.info(
            "read the cloud in full",
            hosts=model.n_hosts,
            servers=model.n_servers,
            changes=len(changes),
            partial=read.health.partial,
            missing_hosts=list(read.health.missing_hosts[:10]),
            took_s=round(self._clock.monotonic() - began, 3),
        )

    async def _read_changes(self) -> None:
        assert self._since is not None  # noqa: S101, a full read came before
        self._polls += 1
        model = self._live.model
        rare = self._inbox.flowing
        with self._inbox.reading() as reading:
            read = await self._source.read_changes(
                model,
                self._since,
                thorough=rare or self._polls % self._settings.thorough_every == 0,
            )
            changes = reading.untouched(read.changes)
        self._inbox.listed(changes)
        if model.health.stale_reason:
            health = model.health
            changes.insert(0, SetHealth(health.partial, "", health.missing_hosts))
        if self._live.publish([Delta(changes=changes, cause="poll")]):
            log.debug("applied changes of the cloud", revision=model.revision)
            counters.observe(model)
        self._live.mark_synced(full=False)
        self._since = read.since

    def _failed(self, error: TrimtabError) -> None:
        self._failures += 1
        counters.FAILED_READS.inc()
        log.warning("cannot read the cloud", problem=error.message, failures=self._failures)
        self._live.problem = error.message
        health = self._live.model.health
        too_old = self._live.built and self._live.age_s >= self._settings.stale_after_s
        if too_old and not health.stale_reason:  # the first reason stands
            stale = SetHealth(health.partial, error.message, health.missing_hosts)
            self._live.publish([Delta(changes=[stale], cause="poll")])

    async def _pause(self) -> None:
        quiet = self._inbox.flowing
        wait_s = self._settings.quiet_poll_interval_s if quiet else self._settings.poll_interval_s
        if self._failures:
            wait_s = max(wait_s, _RETRY_AFTER_S[min(self._failures, len(_RETRY_AFTER_S)) - 1])
        await first_of(self._clock.sleep(wait_s), self._asked.wait(), self._inbox.attention.wait())


def _answer(askers: list[asyncio.Future[None]], error: TrimtabError | None) -> None:
    for asker in askers:
        if asker.done():
            continue
        if error is None:
            asker.set_result(None)
        else:
            asker.set_exception(error)
