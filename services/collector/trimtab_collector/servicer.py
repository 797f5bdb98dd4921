"""The gRPC face of the models: one short method per RPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import grpc
import grpc.aio

from trimtab.model.v1 import model_pb2
from trimtab_collector import counters, watch
from trimtab_collector.compute.scope_schema import SCOPE_SCHEMA_JSON
from trimtab_collector.delta_log import Token
from trimtab_collector.live_model import KIND, LiveModel
from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from trimtab_common.runtime.clock import Clock
from trimtab_common.wire.saved_model import model_messages

SERVICE = "trimtab.model.v1.ModelService"
Context = grpc.aio.ServicerContext[Any, Any]
_MAX_HEARTBEAT_S = 60
_MAX_WAIT_S = 60.0


class Refresher(Protocol):
    """Reads the cloud in full now."""

    def __call__(self) -> Awaitable[None]:
        """Returns when the model shows it. Unavailable when the cloud does not answer."""
        ...


class ModelServicer:
    """ModelService over one live compute model."""

    def __init__(
        self, live: LiveModel, refresh: Refresher, clock: Clock, max_stream_age_s: float
    ) -> None:
        self._live = live
        self._refresh = refresh
        self._clock = clock
        self._max_stream_age_s = max_stream_age_s

    async def ListModels(  # noqa: N802, gRPC's name
        self, _request: model_pb2.ListModelsRequest, _context: Context
    ) -> model_pb2.ListModelsResponse:
        """The models here, with age and size."""
        live = self._live
        info = model_pb2.ModelInfo(
            kind=KIND,
            position=_position(live),
            partial=live.model.health.partial,
            stale_reason=live.stale_reason,
            hosts=live.model.n_hosts,
            servers=live.model.n_servers,
            scope_schema_json=SCOPE_SCHEMA_JSON,
        )
        if live.synced_at is not None:
            info.synced_at.FromDatetime(live.synced_at)
        if live.changed_at is not None:
            info.changed_at.FromDatetime(live.changed_at)
        return model_pb2.ListModelsResponse(models=[info])

    async def GetModel(  # noqa: N802, gRPC's name
        self, request: model_pb2.GetModelRequest, context: Context
    ) -> AsyncIterator[model_pb2.GetModelResponse]:
        """One snapshot."""
        _check_kind(request.kind)
        if request.HasField("min_position"):
            await self._reach(request.min_position, context.time_remaining())
        snapshot, digest = self._live.snapshot(), self._live.model.digest()
        for message in model_messages(snapshot, digest=digest):
            yield message

    async def WatchModel(  # noqa: N802, gRPC's name
        self, request: model_pb2.WatchModelRequest, _context: Context
    ) -> AsyncIterator[bytes]:
        """A snapshot or what was missed, then every delta; encoded once for all watchers."""
        _check_kind(request.kind)
        heartbeat_s = request.heartbeat_s or 5
        if not 1 <= heartbeat_s <= _MAX_HEARTBEAT_S:
            raise InvalidArgument(f"heartbeat_s must be 1 to 60, is {heartbeat_s}.")
        limits = watch.WatchLimits(heartbeat_s=heartbeat_s, max_stream_age_s=self._max_stream_age_s)
        token = Token.parse(request.resume_token) if request.resume_token else None
        with counters.WATCHERS.track_inprogress():
            async for message in watch.watch(self._live, token, limits, self._clock):
                yield message

    async def Refresh(  # noqa: N802, gRPC's name
        self, request: model_pb2.RefreshRequest, _context: Context
    ) -> model_pb2.RefreshResponse:
        """Reads the cloud in full now."""
        _check_kind(request.kind)
        await self._refresh()
        return model_pb2.RefreshResponse(position=_position(self._live))

    async def _reach(self, wanted: model_pb2.Position, remaining_s: float | None) -> None:
        live = self._live
        if wanted.epoch != live.model.epoch:
            raise FailedPrecondition(
                f"Epoch {wanted.epoch} is not this collector's ({live.model.epoch}): positions of "
                "two collectors never compare."
            )
        end_at = self._clock.monotonic() + min(remaining_s or _MAX_WAIT_S, _MAX_WAIT_S) * 0.9
        with live.waiting() as changed:
            while live.model.revision < wanted.revision:
                changed.clear()
                if not await watch.wait_for(changed, end_at - self._clock.monotonic()):
                    raise FailedPrecondition(
                        f"Revision {wanted.revision:.0f} was not reached within the deadline; "
                        f"the model is at {live.model.revision}."
                    )


def add_model_service(servicer: ModelServicer, server: grpc.aio.Server) -> None:
    """Registers ModelService, with a watch that hands on encoded messages as they are."""

    def unary(method: Callable[..., Any], request: Any, response: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )

    pb = model_pb2
    handlers = {
        "ListModels": unary(servicer.ListModels, pb.ListModelsRequest, pb.ListModelsResponse),
        "Refresh": unary(servicer.Refresh, pb.RefreshRequest, pb.RefreshResponse),
        "GetModel": grpc.unary_stream_rpc_method_handler(
            servicer.GetModel,
            request_deserializer=pb.GetModelRequest.FromString,
            response_serializer=pb.GetModelResponse.SerializeToString,
        ),
        "WatchModel": grpc.unary_stream_rpc_method_handler(
            servicer.WatchModel,
            request_deserializer=pb.WatchModelRequest.FromString,
            response_serializer=None,
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def _position(live: LiveModel) -> model_pb2.Position:
    return model_pb2.Position(epoch=live.model.epoch, revision=live.model.revision)


def _check_kind(kind: str) -> None:
    if kind not in ("", KIND):
        raise NotFound(f"There is no model {kind!r} here; this collector holds: {KIND}.")
