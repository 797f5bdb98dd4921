"""PlanService: the typed face of action plans and their actions."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.plan.v1 import plan_pb2, plan_pb2_grpc
from trimtab_api import action_plans, idents
from trimtab_api.ports import Deps
from trimtab_api.typed import pages, values
from trimtab_api.typed.gate import Context, Gate
from trimtab_common.domain.lifecycle import ActionState
from trimtab_common.domain.records import Action, ActionPlan
from trimtab_common.domain.resources import ACTION_PLANS


class PlanService(plan_pb2_grpc.PlanServiceServicer):
    """Shows plans, starts and cancels them."""

    def __init__(self, deps: Deps, gate: Gate) -> None:
        self._deps = deps
        self._gate = gate

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
        """A page of plans, newest last."""
        await self._gate.check(context, "action_plan:get_all")
        async with self._deps.store.read() as session:
            page = await pages.read(
                session.action_plans,
                size=request.page_size,
                token=request.page_token,
                max_size=self._deps.settings.max_limit,
                filters={"audit_uuid": request.audit},
            )
        return plan_pb2.ListActionPlansResponse(
            action_plans=(_plan(plan, {}) for plan in page.records),
            next_page_token=page.next_token,
        )

    async def StartActionPlan(  # noqa: N802, named by the proto
        self, request: plan_pb2.StartActionPlanRequest, context: Context
    ) -> plan_pb2.ActionPlan:
        """Launches a RECOMMENDED plan."""
        await self._gate.check(context, "action_plan:start")
        return await self._with_progress(await action_plans.start(self._deps, request.action_plan))

    async def CancelActionPlan(  # noqa: N802, named by the proto
        self, request: plan_pb2.CancelActionPlanRequest, context: Context
    ) -> plan_pb2.ActionPlan:
        """Cancels a plan that has not ended."""
        await self._gate.check(context, "action_plan:update")
        return await self._with_progress(await action_plans.cancel(self._deps, request.action_plan))

    async def ListActions(  # noqa: N802, named by the proto
        self, request: plan_pb2.ListActionsRequest, context: Context
    ) -> plan_pb2.ListActionsResponse:
        """The actions of a plan in order of creation."""
        await self._gate.check(context, "action:get_all")
        async with self._deps.store.read() as session:
            plan = await session.action_plans.get(idents.parse(ACTION_PLANS, request.action_plan))
            page = await pages.read(
                session.actions,
                size=request.page_size,
                token=request.page_token,
                max_size=self._deps.settings.max_limit,
                filters={"action_plan_uuid": plan.uuid},
            )
        return plan_pb2.ListActionsResponse(
            actions=map(_action, page.records), next_page_token=page.next_token
        )

    async def _with_progress(self, plan: ActionPlan) -> plan_pb2.ActionPlan:
        async with self._deps.store.read() as session:
            return _plan(plan, await session.actions.count_by_state(plan.uuid))


def _plan(plan: ActionPlan, progress: Mapping[ActionState, int]) -> plan_pb2.ActionPlan:
    return plan_pb2.ActionPlan(
        uuid=plan.uuid,
        state=plan.state.value,
        audit=plan.audit_uuid,
        strategy=plan.strategy_name,
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
        progress={state.value: count for state, count in progress.items()},
    )


def _action(action: Action) -> plan_pb2.Action:
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
    )
