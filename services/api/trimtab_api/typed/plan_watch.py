"""WatchActionPlans: which plans a caller follows, and the messages that say how far they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from trimtab.common.v1 import watch_pb2
from trimtab.plan.v1 import plan_pb2 as pb
from trimtab_api import estimates, idents
from trimtab_api.changes import Change, Progress
from trimtab_api.ports import Deps
from trimtab_api.typed import values
from trimtab_api.typed.watching import MAX_NAMED
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.lifecycle import TERMINAL_PLAN, PlanState
from trimtab_common.domain.records import ActionPlan
from trimtab_common.domain.resources import ACTION_PLANS, AUDITS
from trimtab_common.store import Query

PAGE = 500
PROGRESS = "action_plan.progress"


class PlanWatch:
    """One stream of plans; see `watching.Watch`."""

    def __init__(
        self,
        deps: Deps,
        request: pb.WatchActionPlansRequest,
        message: Callable[[ActionPlan, Progress | None, datetime | None], pb.ActionPlan],
    ) -> None:
        self.resume_token = request.resume_token
        self.heartbeat_s = request.heartbeat_s
        self._deps = deps
        self._request = request
        self._message = message
        self._uuids: frozenset[str] = frozenset()
        self._audit_uuid = ""
        self._progress: Mapping[str, Progress] = {}

    async def prepare(self) -> None:
        """Uuids of what is named."""
        named = self._request.action_plans
        if len(named) > MAX_NAMED:
            raise InvalidArgument(f"action_plans names more than {MAX_NAMED}; watch all instead.")
        async with self._deps.store.read() as session:
            if self._request.audit:
                ident = idents.parse(AUDITS, self._request.audit)
                self._audit_uuid = (await session.audits.get(ident)).uuid
            found = [
                await session.action_plans.get(idents.parse(ACTION_PLANS, one)) for one in named
            ]
        self._uuids = frozenset(one.uuid for one in found)

    async def snapshot(self) -> AsyncIterator[Sequence[ActionPlan]]:
        """By rising id, in short transactions, with the progress of each page's plans."""
        filters: dict[str, Any] = {}
        if self._uuids:
            filters["uuid__in"] = sorted(self._uuids)
        if self._audit_uuid:
            filters["audit_uuid"] = self._audit_uuid
        if self._request.active_only:
            filters["state__in"] = [s.value for s in PlanState if s not in TERMINAL_PLAN]
        after: int | None = None
        while True:
            query = Query(filters=filters, limit=PAGE, marker_id=after)
            async with self._deps.store.read() as session:
                page = await session.action_plans.list(query)
                self._progress = await session.actions.counts_by_state([p.uuid for p in page])
            if page:
                yield page
            if len(page) < PAGE:
                self._progress = {}
                return
            after = page[-1].id

    def accepts(self, record: Any) -> bool:
        """Plans that are named, of the audit that is named."""
        return (
            isinstance(record, ActionPlan)
            and (not self._uuids or record.uuid in self._uuids)
            and self._audit_uuid in ("", record.audit_uuid)
        )

    async def begin(self, reason: str) -> pb.WatchActionPlansResponse:
        """Opens the snapshot."""
        return pb.WatchActionPlansResponse(begin=watch_pb2.WatchBegin(reason=reason))

    async def item(self, record: ActionPlan) -> pb.WatchActionPlansResponse:
        """One plan of the snapshot."""
        progress = self._progress.get(record.uuid, {})
        return pb.WatchActionPlansResponse(action_plan=self._shown(record, progress))

    async def end(self, count: int, token: str) -> pb.WatchActionPlansResponse:
        """Closes the snapshot."""
        return pb.WatchActionPlansResponse(resume_token=token, end=watch_pb2.WatchEnd(count=count))

    async def change(self, change: Change, token: str) -> pb.WatchActionPlansResponse:
        """One change."""
        assert isinstance(change.record, ActionPlan)  # noqa: S101, `accepts` saw to it
        return pb.WatchActionPlansResponse(
            resume_token=token,
            change=pb.ActionPlanChange(
                event_type=change.event_type,
                action_plan=self._shown(change.record, change.progress or {}),
                old_state=change.old_state,
                changed_at=values.timestamp(change.changed_at),
            ),
        )

    async def moved(
        self, plan: ActionPlan, progress: Progress, token: str
    ) -> pb.WatchActionPlansResponse | None:
        """Some actions moved on."""
        return pb.WatchActionPlansResponse(
            resume_token=token,
            change=pb.ActionPlanChange(
                event_type=PROGRESS,
                action_plan=self._shown(plan, progress),
                changed_at=values.timestamp(self._deps.clock.now()),
            ),
        )

    async def heartbeat(self, token: str) -> pb.WatchActionPlansResponse:
        """Nothing happened."""
        now = values.timestamp(self._deps.clock.now())
        return pb.WatchActionPlansResponse(
            resume_token=token, heartbeat=watch_pb2.WatchHeartbeat(sent_at=now)
        )

    def _shown(self, plan: ActionPlan, progress: Progress) -> pb.ActionPlan:
        expected = estimates.plan_end(plan, progress, self._deps.clock.now())
        return self._message(plan, progress, expected)
