"""Keeps the live model equal to the cloud: a full read at start and every period, polls between.

A failed read changes nothing: the last good content stays and its age shows, until it is too old
and says so itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from trimtab_collector import counters
from trimtab_collector.compute.loading import Loaded
from trimtab_collector.live_model import Delta, LiveContent
from trimtab_collector.notifications.inbox import Inbox
from trimtab_collector.reads import FullRead, IncrementalRead
from trimtab_common.domain.changes import SetHealth
from trimtab_common.domain.errors import TrimtabError, Unavailable
from trimtab_common.runtime import failpoints, logs
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
    """Where the model comes from: `ComputeReader`, another model's reader, or a fake."""

    async def read_all(self, model: Any) -> FullRead:
        """The whole cloud."""
        ...

    async def read_changes(self, model: Any, since: datetime, *, thorough: bool) -> IncrementalRead:
        """What changed."""
        ...


class ComputeSync:
    """The loop. One task runs `run`; `refresh` asks it for a full read now.

    loaded: which part of the cloud the source reads; None for all. one_at_a_time: held while the
    cloud is read.
    """

    def __init__(
        self,
        live: LiveContent[Any],
        source: Source,
        clock: Clock,
        settings: SyncSettings,
        inbox: Inbox | None = None,
        *,
        loaded: Loaded | None = None,
    ) -> None:
        self._live = live
        self._source = source
        self._loaded = loaded or Loaded()
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
        self.one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Reads until cancelled; nothing before somebody asked for something (C-044)."""
        await self._loaded.asked.wait()
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
        async with self.one_at_a_time:
            await self._step()

    async def _step(self) -> None:
        self._asked.clear()
        askers, self._askers = self._askers, []
        self._inbox.attention.clear()
        try:
            failpoints.reach("collector.sync.before")
            if askers or self._full_is_due():
                await self._read_all()
            else:
                await self._read_changes()
        except TrimtabError as error:
            self._failed(error)
            _answer(askers, error)
        except Exception as error:  # whatever the cloud said, the loop must go on
            log.exception("a read of the cloud broke")
            problem = Unavailable(f"The read broke: {type(error).__name__}: {error}")
            self._failed(problem)
            _answer(askers, problem)
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
            or self._loaded.is_behind
            or self._resyncs_done != self._inbox.resyncs_asked
            or now - self._full_at >= self._settings.period_s
            or now - self._good_at >= _FULL_AFTER_GAP_S
        )

    async def _read_all(self) -> None:
        began, resyncs = self._clock.monotonic(), self._inbox.resyncs_asked
        model = self._live.model
        with self._inbox.reading() as reading, counters.SYNC_SECONDS.time():
            read = self._inbox.replay(reading, await self._source.read_all(model))
        failpoints.reach("collector.sync.read")
        changes = read.changes_to(model)
        self._live.publish([Delta(changes=changes, cause="sync")])
        failpoints.reach("collector.sync.applied")
        self._inbox.read_in_full(read)
        self._resyncs_done = resyncs
        self._live.mark_synced(full=True)
        self._live.mark_built()
        self._since, self._full_at = read.since, began
        self._live.observe()
        log.info(
            "read the cloud in full",
            model=self._live.kind,
            **self._live.sizes(),
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
            changes = self._inbox.current(reading, read.changes)
        self._inbox.listed(changes)
        if model.health.stale_reason:
            health = model.health
            changes = [SetHealth(health.partial, "", health.missing_hosts), *changes]
        if self._live.publish([Delta(changes=changes, cause="poll")]):
            log.debug("applied changes of the cloud", revision=model.revision)
            self._live.observe()
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
