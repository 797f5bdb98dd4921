"""Recommended plans that the cloud has left behind become SUPERSEDED (C-174).

A plan rests on facts of the model that its audit saw. What applier would refuse at the start is seen here
earlier: the model has changed, and the plan says what changed. Facts are compared, not revisions, because
those of two collectors never compare.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from trimtab_common.domain import facts
from trimtab_common.domain.lifecycle import ActionState, PlanState
from trimtab_common.domain.records import Action, ActionPlan
from trimtab_common.domain.snapshot import MEMORY_MIB, VCPU, ComputeSnapshot
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Store
from trimtab_decision.model import ModelSource
from trimtab_decision.superseding import supersede

_PAGE = 500
_TOLD = 3


@dataclass(frozen=True, slots=True)
class _Server:
    uuid: str
    vm_state: str
    vcpus: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class _Service:
    host: str
    status: str
    state: str
    disabled_reason: str | None


class LeftBehind:
    """One look at all recommended plans; `main` repeats it.

    interval_s: between looks. A plan younger than that is left alone, and so is one that the cloud has not
    confirmed the model since, and all while it is not whole: a copy that lags would take the past for a change.
    """

    def __init__(
        self, *, store: Store, model: ModelSource, clock: Clock, interval_s: float
    ) -> None:
        self._store = store
        self._model = model
        self._clock = clock
        self._interval_s = interval_s
        self._seen: ComputeSnapshot | None = None

    async def look(self) -> int:
        """How many plans were superseded. Reads nothing when the model did not change."""
        if not self._model.ready:
            return 0
        now = self._model.snapshot()
        if now is self._seen or now.partial or now.stale_reason:
            return 0
        before = self._clock.now() - timedelta(seconds=max(self._interval_s, self._model.age_s))
        recommended = {"state": PlanState.RECOMMENDED}
        async with self._store.read() as session:
            plans = await session.action_plans.list(Query(filters=recommended))
        ended = 0
        services = _services(now) if plans else {}
        are_all_old = True
        for plan in plans:
            if plan.created_at is None or plan.created_at > before:
                are_all_old = False
            elif changes := await self._changes(plan, now, services):
                ended += await supersede(self._store, plan.uuid, _told(changes))
        self._seen = now if are_all_old else None
        return ended

    async def _changes(
        self, plan: ActionPlan, now: ComputeSnapshot, services: Mapping[str, _Service]
    ) -> list[str]:
        """What some of its pending actions relied on; stops at the first page that has any."""
        filters = {"action_plan_id": plan.id, "state": ActionState.PENDING}
        marker: int | None = None
        while True:
            query = Query(filters=filters, limit=_PAGE, marker_id=marker)
            async with self._store.read() as session:
                page = await session.actions.list(query)
            servers = _servers(now, page)
            relying = [action for action in page if action.facts]
            found = [text for one in relying for text in facts.changes(one, servers, services)]
            if found or len(page) < _PAGE:
                return found
            marker = page[-1].id
            await asyncio.sleep(0)  # a page is some milliseconds of work; others want the loop too


def _told(changes: list[str]) -> str:
    told = "; ".join(changes[:_TOLD])
    more = f"; and {len(changes) - _TOLD} more" if len(changes) > _TOLD else ""
    return (
        f"Superseded: the cloud changed since this plan was made ({told}{more}). "
        "Create the audit again."
    )


def _servers(snapshot: ComputeSnapshot, actions: Iterable[Action]) -> dict[str, _Server]:
    """The servers that these actions name, as they are now."""
    found: dict[str, _Server] = {}
    for action in actions:
        uuid = str(action.input_parameters.get("resource_id"))
        server = snapshot.find_server(uuid)
        if server is not None:
            demand = snapshot.server_demand[server]
            found[uuid] = _Server(
                uuid, snapshot.state_text(server), int(demand[VCPU]), int(demand[MEMORY_MIB])
            )
    return found


def _services(snapshot: ComputeSnapshot) -> dict[str, _Service]:
    return {
        name: _Service(
            name,
            "enabled" if snapshot.host_enabled[host] else "disabled",
            "up" if snapshot.host_up[host] else "down",
            snapshot.host_disabled_reason[host],
        )
        for host, name in enumerate(snapshot.host_name)
    }
