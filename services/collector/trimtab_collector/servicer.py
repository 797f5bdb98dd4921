"""The gRPC face of the models: one short method per RPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
import grpc.aio
import orjson

from trimtab.model.v1 import model_pb2
from trimtab_collector import counters, watch
from trimtab_collector.compute.loading import LoadScope
from trimtab_collector.delta_log import Token
from trimtab_collector.live_model import KIND, LiveContent
from trimtab_collector.refreshes import INTERVAL_S, RefreshLimit
from trimtab_collector.views import view_of, watch_view
from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from trimtab_common.runtime.clock import Clock

SERVICE = "trimtab.model.v1.ModelService"
Context = grpc.aio.ServicerContext[Any, Any]
_MAX_HEARTBEAT_S = 60
_MAX_WAIT_S = 60.0
_MAX_REREADS = 100


class Refresher(Protocol):
    """Reads the cloud in full now."""

    def __call__(self) -> Awaitable[None]:
        """Returns when the model shows it. Unavailable when the cloud does not answer."""
        ...


Loading = Callable[[LoadScope], Awaitable[None]]
"""Reads what a request needs and the model does not hold; returns when it does."""


async def everything_is_loaded(_scope: LoadScope) -> None:
    """A `Loading` for collectors that read the whole cloud at start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One model with what keeps it. reread: asks for single elements, by uuid."""

    live: LiveContent[Any]
    refresh: Refresher
    load: Loading = everything_is_loaded
    reread: Callable[[Sequence[str]], None] = lambda _uuids: None
    scope_schema: Mapping[str, Any] = field(default_factory=dict)


class ModelServicer:
    """ModelService over the live models of this collector."""

    def __init__(
        self,
        models: Sequence[Served],
        clock: Clock,
        max_stream_age_s: float,
        *,
        refresh_interval_s: float = INTERVAL_S,
    ) -> None:
        self._models = {served.live.kind: served for served in models}
        self._limits = {
            kind: RefreshLimit(clock, interval_s=refresh_interval_s) for kind in self._models
        }
        self._clock = clock
        self._max_stream_age_s = max_stream_age_s

    async def ListModels(  # noqa: N802, gRPC's name
        self, _request: model_pb2.ListModelsRequest, _context: Context
    ) -> model_pb2.ListModelsResponse:
        """The models here, with age and size."""
        return model_pb2.ListModelsResponse(models=map(_info, self._models.values()))

    async def GetModel(  # noqa: N802, gRPC's name
        self, request: model_pb2.GetModelRequest, context: Context
    ) -> AsyncIterator[model_pb2.GetModelResponse]:
        """One snapshot."""
        served = self._served(request.kind)
        live = served.live
        if request.scope_json:
            await served.load(_load_scope(request.scope_json))
        if request.HasField("min_position"):
            await self._reach(live, request.min_position, context.time_remaining())
        live.check_built()
        whole = not request.scope_json and not request.keys
        part = live if whole else view_of(live, _scope(request.scope_json), request.keys)
        for message in part.messages("requested"):
            yield message

    async def WatchModel(  # noqa: N802, gRPC's name
        self, request: model_pb2.WatchModelRequest, _context: Context
    ) -> AsyncIterator[bytes]:
        """A snapshot or what was missed, then every delta; encoded once for all watchers."""
        served = self._served(request.kind)
        live = served.live
        heartbeat_s = request.heartbeat_s or 5
        if not 1 <= heartbeat_s <= _MAX_HEARTBEAT_S:
            raise InvalidArgument(f"heartbeat_s must be 1 to 60, is {heartbeat_s}.")
        limits = watch.WatchLimits(heartbeat_s=heartbeat_s, max_stream_age_s=self._max_stream_age_s)
        token = Token.parse(request.resume_token) if request.resume_token else None
        if request.scope_json or request.keys:
            await served.load(_load_scope(request.scope_json))
            live.check_built()
            part = view_of(live, _scope(request.scope_json), request.keys)
            messages = watch_view(live, part, limits, self._clock)
        else:
            messages = watch.watch(live, token, limits, self._clock)
        with counters.WATCHERS.track_inprogress():
            async for message in messages:
                yield message

    async def LoadModel(  # noqa: N802, gRPC's name
        self, request: model_pb2.LoadModelRequest, _context: Context
    ) -> model_pb2.LoadModelResponse:
        """Makes sure that the model holds what a scope needs."""
        served = self._served(request.kind)
        await served.load(_load_scope(request.scope_json))
        return model_pb2.LoadModelResponse(position=_position(served.live))

    async def Reread(  # noqa: N802, gRPC's name
        self, request: model_pb2.RereadRequest, _context: Context
    ) -> model_pb2.RereadResponse:
        """Has single elements read again soon."""
        served = self._served(request.kind)
        if len(request.uuids) > _MAX_REREADS:
            raise InvalidArgument(
                f"{len(request.uuids)} uuids; at most {_MAX_REREADS} are read again. Use Refresh."
            )
        served.reread(request.uuids)
        return model_pb2.RereadResponse()

    async def Refresh(  # noqa: N802, gRPC's name
        self, request: model_pb2.RefreshRequest, _context: Context
    ) -> model_pb2.RefreshResponse:
        """Reads the cloud in full now."""
        served = self._served(request.kind)
        self._limits[served.live.kind].take()
        await served.refresh()
        return model_pb2.RefreshResponse(position=_position(served.live))

    def _served(self, kind: str) -> Served:
        served = self._models.get(kind or KIND)
        if served is None:
            raise NotFound(
                f"There is no model {kind!r} here; this collector holds: {', '.join(self._models)}."
            )
        return served

    async def _reach(
        self, live: LiveContent[Any], wanted: model_pb2.Position, remaining_s: float | None
    ) -> None:
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
        "Reread": unary(servicer.Reread, pb.RereadRequest, pb.RereadResponse),
        "LoadModel": unary(servicer.LoadModel, pb.LoadModelRequest, pb.LoadModelResponse),
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


def _info(served: Served) -> model_pb2.ModelInfo:
    live = served.live
    sizes = live.sizes()
    info = model_pb2.ModelInfo(
        kind=live.kind,
        position=_position(live),
        partial=live.model.health.partial,
        stale_reason=live.stale_reason,
        hosts=sizes.pop("hosts", 0),
        servers=sizes.pop("servers", 0),
        counts=sizes,
        scope_schema_json=orjson.dumps(served.scope_schema).decode(),
    )
    if live.synced_at is not None:
        info.synced_at.FromDatetime(live.synced_at)
    if live.changed_at is not None:
        info.changed_at.FromDatetime(live.changed_at)
    return info


def _position(live: LiveContent[Any]) -> model_pb2.Position:
    return model_pb2.Position(epoch=live.model.epoch, revision=live.model.revision)


def _load_scope(text: str) -> LoadScope:
    return LoadScope.of(_scope(text))


def _scope(text: str) -> Any:
    try:
        return orjson.loads(text or "[]")
    except orjson.JSONDecodeError:
        raise InvalidArgument("scope_json is no JSON; it must be an audit scope.") from None
