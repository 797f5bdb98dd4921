"""Questions to decision and collector over gRPC, behind the protocols of `ports`."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import grpc.aio
import orjson
import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from trimtab.decision.v1 import decision_pb2, decision_pb2_grpc
from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_api.ports import ModelStatus, RolledBack, StrategyRequirement
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.errors import (
    Bug,
    DeadlineExceeded,
    FailedPrecondition,
    TrimtabError,
    Unavailable,
)
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.errors import from_rpc_error
from trimtab_common.wire.element_codec import elements_of
from trimtab_common.wire.snapshot_codec import SnapshotReader

log = structlog.get_logger(__name__)
STATE_TIMEOUT_S = 20.0
ROLLBACK_TIMEOUT_S = 30.0
MODEL_TIMEOUT_S = 30.0
SCHEMAS_TIMEOUT_S = 2.0
SCHEMAS_KEPT_S = 60.0
SCHEMAS_RETRY_S = 5.0


class DecisionStates:
    """Asks decision for the state of strategies; see `ports.StrategyStates`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: decision_pb2_grpc.DecisionServiceAsyncStub = (
            decision_pb2_grpc.DecisionServiceStub(channel)
        )

    async def state_of(self, strategy: str) -> Sequence[StrategyRequirement]:
        """Unavailable when decision does not answer."""
        request = decision_pb2.GetStrategyStateRequest(strategy=strategy)
        try:
            answer = await self._stub.GetStrategyState(request, timeout=STATE_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise _explained(error, "decision") from None
        return [
            StrategyRequirement(
                type=row.type,
                state=orjson.loads(row.state_json),
                mandatory=row.mandatory,
                comment=row.comment,
            )
            for row in answer.requirements
        ]


class DecisionRollbacks:
    """Has decision undo plans; see `ports.Rollbacks`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: decision_pb2_grpc.DecisionServiceAsyncStub = (
            decision_pb2_grpc.DecisionServiceStub(channel)
        )

    async def roll_back(
        self, plan_uuid: str, actions: Sequence[str]
    ) -> tuple[str, Sequence[RolledBack]]:
        """Unavailable when decision does not answer; never asked twice."""
        request = decision_pb2.RollBackPlanRequest(uuid=plan_uuid, actions=actions)
        try:
            answer = await self._stub.RollBackPlan(request, timeout=ROLLBACK_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise _explained(error, "decision") from None
        return answer.uuid, [
            RolledBack(
                action_uuid=one.uuid,
                inverse_uuid=one.inverse_uuid or None,
                problem=one.problem or None,
            )
            for one in answer.results
        ]


class CollectorModels:
    """Reads models from collector; see `ports.Models`."""

    def __init__(
        self, channel: grpc.aio.Channel, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._stub: model_pb2_grpc.ModelServiceAsyncStub = model_pb2_grpc.ModelServiceStub(channel)
        self._monotonic = monotonic
        self._schemas: Mapping[str, Any] = {}
        self._schemas_until = -math.inf

    async def statuses(self) -> Sequence[ModelStatus]:
        """Every model; Unavailable when collector does not answer."""
        try:
            answer = await self._stub.ListModels(
                model_pb2.ListModelsRequest(), timeout=STATE_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise _explained(error, "collector") from None
        return [
            ModelStatus(
                kind=model.kind,
                hosts=model.hosts,
                servers=model.servers,
                synced_at=_time(model, "synced_at"),
                changed_at=_time(model, "changed_at"),
                partial=model.partial,
                stale_reason=model.stale_reason,
            )
            for model in answer.models
        ]

    async def scope_schemas(self) -> Mapping[str, Any]:
        """What collector said within the last minute; what it said last while it is silent."""
        if self._monotonic() < self._schemas_until:
            return self._schemas
        keep_s = SCHEMAS_KEPT_S
        try:
            answer = await self._stub.ListModels(
                model_pb2.ListModelsRequest(), timeout=SCHEMAS_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            log.warning(
                "scope schemas not known anew", error=_explained(error, "collector").message
            )
            keep_s = SCHEMAS_RETRY_S
        else:
            self._schemas = {
                model.kind: orjson.loads(model.scope_schema_json)
                for model in answer.models
                if model.scope_schema_json
            }
        self._schemas_until = self._monotonic() + keep_s
        return self._schemas

    async def compute(self) -> ComputeSnapshot | None:
        """None when no model was built yet; Unavailable when collector does not answer."""
        request = model_pb2.GetModelRequest(kind="compute")
        reader: SnapshotReader | None = None
        try:
            async for message in self._stub.GetModel(request, timeout=MODEL_TIMEOUT_S):
                part = message.WhichOneof("part")
                if part == "begin":
                    reader = SnapshotReader(message.begin)
                elif reader is None:
                    raise Bug("collector sent a part of a snapshot before its begin")
                elif part == "compute":
                    reader.add(message.compute)
                else:
                    return await asyncio.to_thread(_finished, reader, message.end)
        except grpc.aio.AioRpcError as error:
            problem = _explained(error, "collector")
            if isinstance(problem, FailedPrecondition):
                return None
            raise problem from None
        raise Unavailable("collector ended the snapshot before it was whole. Try again.")

    async def elements(self, kind: str, scope: Sequence[Any]) -> ElementSnapshot | None:
        """None when no model was built yet; NotFound when collector holds no such model."""
        text = orjson.dumps(scope).decode() if scope else ""
        request = model_pb2.GetModelRequest(kind=kind, scope_json=text)
        try:
            parts = [one async for one in self._stub.GetModel(request, timeout=MODEL_TIMEOUT_S)]
        except grpc.aio.AioRpcError as error:
            problem = _explained(error, "collector")
            if isinstance(problem, FailedPrecondition):
                return None
            raise problem from None
        model = await asyncio.to_thread(elements_of, parts)
        return model.snapshot()


def _time(model: model_pb2.ModelInfo, name: Literal["synced_at", "changed_at"]) -> datetime | None:
    if not model.HasField(name):
        return None
    stamp: Timestamp = getattr(model, name)
    return stamp.ToDatetime(tzinfo=UTC)


def _finished(reader: SnapshotReader, end: model_pb2.SnapshotEnd) -> ComputeSnapshot:
    """In a thread: a large cloud takes seconds, and other requests do not wait for it."""
    return reader.finish(end).snapshot()


def _explained(error: grpc.aio.AioRpcError, service: str) -> TrimtabError:
    """Names the service that does not answer and what to do about it."""
    problem = from_rpc_error(error)
    if isinstance(problem, Unavailable | DeadlineExceeded):
        return Unavailable(
            f"The {service} service does not answer. Check that it runs (trimtab-{service}) and "
            f"that [trimtab]{service} names its address; then try again."
        )
    return problem
