"""PlanService: the typed face of action plans and their actions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from google.protobuf.empty_pb2 import Empty

from trimtab.plan.v1 import plan_pb2, plan_pb2_grpc
from trimtab_api import action_plans, actions, estimates, idents
from trimtab_api.ports import Deps
from trimtab_api.typed import etags, pages, values
from trimtab_api.typed.gate import Context, Gate
from trimtab_api.typed.plan_watch import PlanWatch
from trimtab_api.typed.watching import Watches
from trimtab_common.domain.lifecycle import ActionState
from trimtab_common.domain.records import Action, ActionPlan
from trimtab_common.domain.resources import ACTION_PLANS, ACTIONS

OF_ALL_PLANS = "-"
"""Stands for every parent (AIP-159)."""


class PlanService(plan_pb2_grpc.PlanServiceServicer):
    """Shows plans, starts, cancels, deletes and follows them."""

    def __init__(self, deps: Deps, gate: Gate, watches: Watches) -> None:
        self._deps = deps
        self._gate = gate
        self._watches = watches

    async def GetActionPlan(  # noqa: N802, named by the proto
        self, request: plan_pb2.GetActionPlanRequest, context: Context
    ) -> plan_pb2.ActionPlan:
        """One plan with the progress of its actions."""
        await self._gate.check(context, "action_plan:get")
        async with self._deps.store.read() as session:
            plan = await session.action_plans.get(idents.parse(ACTION_PLANS, request.action_plan))
        return await self._with_progress(plan)

    async def ListActionPlans(  # noqa: N802, named by the proto
        self, request: plan_pb2.ListActionPlansRequest, context: Context
    ) -> plan_pb2.ListActionPlansResponse:
        """A page of plans."""
        await self._gate.check(context, "action_plan:get_all")
        async with self._deps.store.read() as session:
            page = await pages.read(
                session.action_plans,
                ACTION_PLANS,
                request,
                max_size=self._deps.settings.max_limit,
                also={"audit_uuid": request.audit, "strategy": request.strategy},
            )
        return plan_pb2.ListActionPlansResponse(
            action_plans=map(message, page.records), next_page_token=page.next_token
        )

    async def StartActionPlan(  # noqa: N802, named by the proto
        self, request: plan_pb2.StartActionPlanRequest, context: Context
    ) -> plan_pb2.ActionPlan:
        """Launches a RECOMMENDED plan."""
        await self._gate.check(context, "action_plan:start")
        guard = etags.guard(request.etag, context)
        plan = await action_plans.start(self._deps, request.action_plan, guard=guard)
        return await self._with_progress(plan)

    async def CancelActionPlan(  # noqa: N802, named by the proto
        self, request: plan_pb2.CancelActionPlanRequest, context: Context
    ) -> plan_pb2.ActionPlan:
        """Cancels a plan that has not ended."""
        await self._gate.check(context, "action_plan:update")
        guard = etags.guard(request.etag, context)
        plan = await action_plans.cancel(self._deps, request.action_plan, guard=guard)
        return await self._with_progress(plan)

    async def RollbackActionPlan(  # noqa: N802, named by the proto
        self, request: plan_pb2.RollbackActionPlanRequest, context: Context
    ) -> plan_pb2.RollbackActionPlanResponse:
        """Undoes what a plan did, by a new one (A-076..A-078)."""
        await self._gate.check(context, "action_plan:rollback")
        guard = etags.guard(request.etag, context)
        plan, report = await action_plans.roll_back(
            self._deps, request.action_plan, request.actions, guard=guard
        )
        return plan_pb2.RollbackActionPlanResponse(
            action_plan=await self._with_progress(plan),
            results=(
                plan_pb2.RolledBackAction(
                    action=one.action_uuid,
                    inverse=one.inverse_uuid or "",
                    problem=one.problem or "",
                )
                for one in report
            ),
        )

    async def DeleteActionPlan(  # noqa: N802, named by the proto
        self, request: plan_pb2.DeleteActionPlanRequest, context: Context
    ) -> Empty:
        """Hides a plan that does not run, with its actions."""
        await self._gate.check(context, "action_plan:delete")
        guard = etags.guard(request.etag, context)
        await action_plans.delete(self._deps, request.action_plan, guard=guard)
        return Empty()

    async def ListActions(  # noqa: N802, named by the proto
        self, request: plan_pb2.ListActionsRequest, context: Context
    ) -> plan_pb2.ListActionsResponse:
        """The actions of a plan, or of all."""
        await self._gate.check(context, "action:get_all")
        async with self._deps.store.read() as session:
            of_plan = ""
            if request.action_plan != OF_ALL_PLANS:
                ident = idents.parse(ACTION_PLANS, request.action_plan)
                of_plan = (await session.action_plans.get(ident)).uuid
            page = await pages.read(
                session.actions,
                ACTIONS,
                request,
                max_size=self._deps.settings.max_limit,
                also={"action_plan_uuid": of_plan},
            )
            texts = await session.action_descriptions.all()
        return plan_pb2.ListActionsResponse(
            actions=(_action(action, texts) for action in page.records),
            next_page_token=page.next_token,
        )

    async def GetAction(  # noqa: N802, named by the proto
        self, request: plan_pb2.GetActionRequest, context: Context
    ) -> plan_pb2.Action:
        """One action."""
        await self._gate.check(context, "action:get")
        async with self._deps.store.read() as session:
            action = await session.actions.get(idents.parse(ACTIONS, request.action))
            return _action(action, await session.action_descriptions.all())

    async def SkipAction(  # noqa: N802, named by the proto
        self, request: plan_pb2.SkipActionRequest, context: Context
    ) -> plan_pb2.Action:
        """Leaves a PENDING action out of its plan (A-066, A-067)."""
        await self._gate.check(context, "action:update")
        action = await actions.skip(
            self._deps,
            request.action,
            state=ActionState.SKIPPED.value,
            message=request.reason or None,
            guard=etags.guard(request.etag, context),
        )
        async with self._deps.store.read() as session:
            return _action(action, await session.action_descriptions.all())

    async def WatchActionPlans(  # noqa: N802, named by the proto
        self, request: plan_pb2.WatchActionPlansRequest, context: Context
    ) -> AsyncIterator[plan_pb2.WatchActionPlansResponse]:
        """Plans as they are, then as they change."""
        watch = PlanWatch(self._deps, request, message)
        async for response in self._watches.run(watch, context, "action_plan:get_all"):
            yield response

    async def _with_progress(self, plan: ActionPlan) -> plan_pb2.ActionPlan:
        async with self._deps.store.read() as session:
            progress = await session.actions.count_by_state(plan.uuid)
        expected = estimates.plan_end(plan, progress, self._deps.clock.now())
        return message(plan, progress, expected)


def message(
    plan: ActionPlan,
    progress: Mapping[ActionState, int] | None = None,
    expected_end_at: datetime | None = None,
) -> plan_pb2.ActionPlan:
    """The message of a plan."""
    return plan_pb2.ActionPlan(
        uuid=plan.uuid,
        state=plan.state.value,
        audit=plan.audit_uuid,
        strategy=plan.strategy_name,
        strategy_uuid=plan.strategy_uuid,
        efficacy_indicators=(
            plan_pb2.Efficacy(
                name=item.name,
                description=item.description,
                unit=item.unit or "",
                value=item.value,
            )
            for item in plan.efficacy_indicators
        ),
        global_efficacy=(
            plan_pb2.Efficacy(
                name=item.get("name", ""),
                description=item.get("description", ""),
                unit=item.get("unit") or "",
                value=item.get("value") or 0.0,
            )
            for item in plan.global_efficacy
        ),
        hostname=plan.hostname or "",
        status_message=plan.status_message or "",
        created_at=values.timestamp(plan.created_at),
        updated_at=values.timestamp(plan.updated_at),
        progress={state.value: count for state, count in (progress or {}).items()},
        etag=etags.of(plan),
        expected_end_at=values.timestamp(expected_end_at),
        explanation=None if progress is None else values.struct(plan.explanation),
    )


def _action(action: Action, descriptions: Mapping[str, str]) -> plan_pb2.Action:
    return plan_pb2.Action(
        uuid=action.uuid,
        state=action.state.value,
        action_plan=action.action_plan_uuid,
        action_type=action.action_type,
        input_parameters=values.struct(action.input_parameters),
        parents=action.parents,
        status_message=action.status_message or "",
        reason=action.reason or "",
        created_at=values.timestamp(action.created_at),
        updated_at=values.timestamp(action.updated_at),
        etag=etags.of(action),
        description=descriptions.get(action.action_type, ""),
    )
