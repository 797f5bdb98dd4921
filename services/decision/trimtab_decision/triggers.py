"""Starts EVENT audits by what happens in the model or to a metric, without a webhook (A-075).

Each look compares decision's copy of the model with the one of the look before. What happened waits
until nothing more happens for a while, and an audit is not started again soon: a rack that comes up
starts one run, not forty. A run is asked for as a webhook asks for it, by `next_run_time`. All
replicas look, one of them acts; what was missed while none ran is not made up for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import structlog

from trimtab_common.domain.errors import Conflict, InvalidArgument, TrimtabError
from trimtab_common.domain.lifecycle import AuditState, AuditType
from trimtab_common.domain.records import Audit
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.rules.triggers import Happening, Threshold, Trigger, split
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Session, Store
from trimtab_decision.metrics import MetricQuery, MetricsReader
from trimtab_decision.model import ModelSource
from trimtab_decision.settings import DecisionSettings

log = structlog.get_logger(__name__)
LEASE = "event_triggers"
NOBODY = "00000000-0000-0000-0000-000000000000"
LATEST = 10
"""What goes on happening is waited out for at most so many times the debounce."""
STARTABLE = (AuditState.PENDING, AuditState.SUCCEEDED)
_LIVE = (*STARTABLE, AuditState.ONGOING)


@dataclass(slots=True)
class _Pending:
    """What happened and no run has seen yet. Times are monotonic seconds."""

    first_s: float
    last_s: float
    causes: set[str] = field(default_factory=set)


class EventTriggers:
    """One look; `main` repeats it."""

    def __init__(
        self,
        *,
        store: Store,
        model: ModelSource,
        metrics: MetricsReader,
        wake: Callable[[str], Awaitable[None]],
        clock: Clock,
        settings: DecisionSettings,
        owner: str,
    ) -> None:
        self._store = store
        self._model = model
        self._metrics = metrics
        self._wake = wake
        self._clock = clock
        self._settings = settings
        self._owner = owner
        self._before: ComputeSnapshot | None = None
        self._pending: dict[str, _Pending] = {}
        self._started_s: dict[str, float] = {}
        self._beyond: set[tuple[str, str]] = set()  # audit and threshold, while it is crossed
        self._metrics_due_s = 0.0

    async def look(self) -> None:
        """Compares, and asks for the runs that are due."""
        audits = await self._audits()
        self._forget_all_but(audits)
        if not audits:
            self._before = None
            return
        is_mine = await self._is_mine()  # at each look, so that it does not change hands idly
        happened = self._happened()
        crossed = await self._crossed(audits)
        now_s = self._clock.monotonic()
        for uuid, (audit, triggers) in audits.items():
            if audit.next_run_time is not None and audit.state in STARTABLE:
                self._pending.pop(uuid, None)  # the run that is asked for sees it all
                continue
            causes = {
                text
                for text, trigger in triggers.items()
                if trigger in happened or (uuid, text) in crossed
            }
            if causes:
                waiting = self._pending.setdefault(uuid, _Pending(now_s, now_s))
                waiting.last_s = now_s
                waiting.causes |= causes
        if is_mine:
            for uuid in [uuid for uuid in self._pending if self._is_due(uuid, now_s)]:
                await self._start(audits[uuid][0], now_s)

    async def _audits(self) -> dict[str, tuple[Audit, Mapping[str, Trigger]]]:
        async with self._store.read() as session:
            filters = {"audit_type": AuditType.EVENT, "state__in": list(_LIVE)}
            listed = await session.audits.list(Query(filters=filters))
        found: dict[str, tuple[Audit, Mapping[str, Trigger]]] = {}
        for audit in listed:
            try:
                triggers, _ = split(audit.parameters)
            except InvalidArgument as error:
                log.warning("triggers not understood", audit=audit.uuid, problem=error.message)
                continue
            if triggers:
                found[audit.uuid] = (audit, triggers)
        return found

    def _forget_all_but(self, audits: Mapping[str, object]) -> None:
        """Of audits that ended; and what another replica has acted on, had it been alive."""
        longest_s = 2 * LATEST * self._settings.event_trigger_debounce_s + self._lease_s
        oldest_s = self._clock.monotonic() - max(longest_s, self._settings.event_trigger_gap_s * 2)
        self._pending = {
            uuid: waiting
            for uuid, waiting in self._pending.items()
            if uuid in audits and waiting.last_s >= oldest_s
        }
        self._started_s = {u: at for u, at in self._started_s.items() if u in audits}
        self._beyond = {(uuid, text) for uuid, text in self._beyond if uuid in audits}

    def _happened(self) -> set[Happening]:
        """What differs from the last look; nothing while the model is not whole."""
        if not self._model.ready:
            return set()
        now = self._model.snapshot()
        if now.partial or now.stale_reason:
            return set()
        before, self._before = self._before, now
        return set() if before is None or before is now else differences(before, now)

    async def _crossed(
        self, audits: Mapping[str, tuple[Audit, Mapping[str, Trigger]]]
    ) -> set[tuple[str, str]]:
        """The thresholds crossed since the last reading; one that stays crossed tells no more."""
        wanted = {
            (uuid, text): trigger
            for uuid, (_, triggers) in audits.items()
            for text, trigger in triggers.items()
            if isinstance(trigger, Threshold)
        }
        now_s = self._clock.monotonic()
        if not wanted or now_s < self._metrics_due_s or not self._model.ready:
            return set()
        self._metrics_due_s = now_s + self._settings.event_trigger_metrics_s
        names = sorted({trigger.metric for trigger in wanted.values()})
        try:
            table = await self._metrics.read(
                self._model.snapshot(), [MetricQuery(metric=name) for name in names]
            )
        except TrimtabError as error:
            log.warning("thresholds not looked at", problem=error.message)
            return set()
        beyond = set()
        for key, trigger in wanted.items():
            column = table.host.get(trigger.metric, table.server.get(trigger.metric))
            if column is None:
                continue
            over = column > trigger.limit if trigger.is_above else column < trigger.limit
            if bool(np.any(over)):
                beyond.add(key)
        crossed, self._beyond = beyond - self._beyond, beyond
        return crossed

    def _is_due(self, uuid: str, now_s: float) -> bool:
        waiting, quiet_s = self._pending[uuid], self._settings.event_trigger_debounce_s
        if now_s - waiting.last_s < quiet_s and now_s - waiting.first_s < LATEST * quiet_s:
            return False
        started_s = self._started_s.get(uuid)
        return started_s is None or now_s - started_s >= self._settings.event_trigger_gap_s

    @property
    def _lease_s(self) -> float:
        return max(10.0, 4 * self._settings.event_trigger_interval_s)

    async def _is_mine(self) -> bool:
        """Whether this replica acts; another does when this one is gone."""
        lease = await self._store.transact(
            lambda session: session.leases.acquire(LEASE, NOBODY, self._owner, self._lease_s)
        )
        return lease is not None

    async def _start(self, audit: Audit, now_s: float) -> None:
        """Asks for a run, unless one is asked for; waits for one that runs."""
        causes = ", ".join(sorted(self._pending[audit.uuid].causes))
        now = self._clock.now()
        try:
            await self._store.transact(lambda session: _ask(session, audit.uuid, now, causes))
        except Conflict:
            return  # it runs, and may have begun before this happened: it runs once more
        del self._pending[audit.uuid]
        self._started_s[audit.uuid] = now_s
        log.info("event audit triggered", audit=audit.uuid, causes=causes)
        await self._wake(audit.uuid)


async def _ask(session: Session, uuid: str, now: datetime, causes: str) -> None:
    await session.audits.update_in(
        uuid,
        {"next_run_time": now, "status_message": f"Triggered by {causes}."},
        source=STARTABLE,
    )


def differences(before: ComputeSnapshot, now: ComputeSnapshot) -> set[Happening]:
    """What happened between two contents. O(hosts + servers log servers)."""
    found = set()
    was, is_now = set(before.host_uuid), set(now.host_uuid)
    if is_now - was:
        found.add(Happening.NODE_ADDED)
    if was - is_now:
        found.add(Happening.NODE_REMOVED)
    if len(np.setdiff1d(_keys(now), _keys(before))):
        found.add(Happening.INSTANCE_CREATED)
    return found


def _keys(snapshot: ComputeSnapshot) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """[V] one opaque key a server."""
    return np.ascontiguousarray(snapshot.server_uuid).view("V16").reshape(-1)
