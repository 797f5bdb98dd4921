"""DecisionService: wake-ups and questions from api."""

from __future__ import annotations

import json

import grpc

from trimtab.decision.v1 import decision_pb2 as pb
from trimtab.decision.v1 import decision_pb2_grpc
from trimtab_decision.audits import AuditRunner
from trimtab_decision.state import StrategyStates


class DecisionServicer(decision_pb2_grpc.DecisionServiceServicer):
    """Thin: everything happens in the runner and in the states."""

    def __init__(self, *, runner: AuditRunner, states: StrategyStates) -> None:
        self._runner = runner
        self._states = states

    async def WakeAudit(  # noqa: N802, gRPC's name
        self,
        request: pb.WakeAuditRequest,
        context: grpc.aio.ServicerContext[pb.WakeAuditRequest, pb.WakeAuditResponse],  # noqa: ARG002, errors are raised
    ) -> pb.WakeAuditResponse:
        """Looks at the audit now instead of at the next sweep."""
        await self._runner.wake(request.uuid)
        return pb.WakeAuditResponse()

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
