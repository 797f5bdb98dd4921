"""WatchActionPlans: which plans a caller follows, and the messages that say how far they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from trimtab.plan.v1 import plan_pb2 as pb
from trimtab_api import estimates
from trimtab_api.changes import Change, Progress
from trimtab_api.ports import Deps
from trimtab_api.typed import values
from trimtab_api.typed.record_watch import RecordWatch
from trimtab_common.domain.lifecycle import TERMINAL_PLAN, PlanState
from trimtab_common.domain.records import ActionPlan
from trimtab_common.domain.resources import ACTION_PLANS, AUDITS
from trimtab_common.store import Session

PROGRESS = "action_plan.progress"


class PlanWatch(RecordWatch[ActionPlan, pb.WatchActionPlansResponse]):
    """One stream of plans, all or those of an audit."""

    resource = ACTION_PLANS
    parent = AUDITS
    parent_key = "audit_uuid"
    active = tuple(state for state in PlanState if state not in TERMINAL_PLAN)
    response = pb.WatchActionPlansResponse

    def __init__(
        self,
        deps: Deps,
        request: pb.WatchActionPlansRequest,
        message: Callable[[ActionPlan, Progress | None, datetime | None], pb.ActionPlan],
    ) -> None:
        super().__init__(deps, request, named=request.action_plans, parent=request.audit)
        self._message = message
        self._progress: Mapping[str, Progress] = {}

    async def look_up(self, session: Session, page: Sequence[ActionPlan]) -> None:
        """The progress of these plans."""
        self._progress = await session.actions.counts_by_state([plan.uuid for plan in page])

    async def item(self, record: ActionPlan) -> pb.WatchActionPlansResponse:
        """One plan of the snapshot."""
        progress = self._progress.get(record.uuid, {})
        return pb.WatchActionPlansResponse(action_plan=self._shown(record, progress))

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

    def _shown(self, plan: ActionPlan, progress: Progress) -> pb.ActionPlan:
        expected = estimates.plan_end(plan, progress, self._deps.clock.now())
        return self._message(plan, progress, expected)
