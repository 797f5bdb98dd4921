"""DecisionService: wake-ups and questions from api."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import grpc

from trimtab.decision.v1 import decision_pb2 as pb
from trimtab.decision.v1 import decision_pb2_grpc
from trimtab_decision.audits import AuditRunner
from trimtab_decision.rollback import Rollbacks
from trimtab_decision.scope_check import ScopeChecks
from trimtab_decision.state import StrategyStates


class DecisionServicer(decision_pb2_grpc.DecisionServiceServicer):
    """Thin: everything happens in the runner and in the states."""

    def __init__(
        self,
        *,
        runner: AuditRunner,
        states: StrategyStates,
        rollbacks: Rollbacks,
        scopes: ScopeChecks,
        wake_plan: Callable[[str], Awaitable[None]],
    ) -> None:
        self._runner = runner
        self._states = states
        self._rollbacks = rollbacks
        self._scopes = scopes
        self._wake_plan = wake_plan

    async def WakeAudit(  # noqa: N802, gRPC's name
        self,
        request: pb.WakeAuditRequest,
        context: grpc.aio.ServicerContext[pb.WakeAuditRequest, pb.WakeAuditResponse],  # noqa: ARG002, errors are raised
    ) -> pb.WakeAuditResponse:
        """Looks at the audit now instead of at the next sweep."""
        await self._runner.wake(request.uuid)
        return pb.WakeAuditResponse()

    async def CheckScope(  # noqa: N802, gRPC's name
        self,
        request: pb.CheckScopeRequest,
        context: grpc.aio.ServicerContext[pb.CheckScopeRequest, pb.CheckScopeResponse],  # noqa: ARG002, errors are raised
    ) -> pb.CheckScopeResponse:
        """Tells what a new scope names and no model holds."""
        await self._scopes.check(request.uuid)
        return pb.CheckScopeResponse()

    async def GetStrategyState(  # noqa: N802, gRPC's name
        self,
        request: pb.GetStrategyStateRequest,
        context: grpc.aio.ServicerContext[pb.GetStrategyStateRequest, pb.GetStrategyStateResponse],  # noqa: ARG002, errors are raised
    ) -> pb.GetStrategyStateResponse:
        """What the strategy needs, row by row."""
        rows = await self._states.of(request.strategy)
        return pb.GetStrategyStateResponse(
            requirements=[
                pb.Requirement(
                    type=row.type,
                    state_json=json.dumps(row.state),
                    mandatory=row.mandatory,
                    comment=row.comment,
                )
                for row in rows
            ]
        )

    async def RollBackPlan(  # noqa: N802, gRPC's name
        self,
        request: pb.RollBackPlanRequest,
        context: grpc.aio.ServicerContext[pb.RollBackPlanRequest, pb.RollBackPlanResponse],  # noqa: ARG002, errors are raised
    ) -> pb.RollBackPlanResponse:
        """Undoes a finished plan by a new one."""
        plan, report = await self._rollbacks.roll_back(request.uuid, tuple(request.actions))
        await self._wake_plan(plan.uuid)
        return pb.RollBackPlanResponse(
            uuid=plan.uuid,
            results=[
                pb.RolledBackAction(
                    uuid=one.action, inverse_uuid=one.inverse or "", problem=one.problem or ""
                )
                for one in report
            ],
        )
