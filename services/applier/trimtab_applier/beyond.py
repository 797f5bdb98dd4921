"""What the applier reaches beside Nova: Cinder, the machines' power, and collector's ear.

A cloud may lack each of them; what is lacking says so when an action needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
import grpc.aio
import structlog

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_applier.errors import ActionFailed
from trimtab_common.openstack.cinder_writes import CinderWrites
from trimtab_common.openstack.power_writes import PowerWrites

log = structlog.get_logger(__name__)
_REREAD_TIMEOUT_S = 2.0

Reread = Callable[[str, str], Awaitable[None]]
"""(model, uuid): has collector read one element again soon; must not raise."""


async def nobody(_kind: str, _uuid: str) -> None:
    """A `Reread` without a collector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """None: this applier was given none."""

    block_storage: CinderWrites | None = None
    machines: PowerWrites | None = None
    reread: Reread = nobody

    @property
    def cinder(self) -> CinderWrites:
        """The block storage service. ActionFailed without one."""
        if self.block_storage is None:
            raise ActionFailed("This applier has no block storage service")
        return self.block_storage

    @property
    def power(self) -> PowerWrites:
        """What switches machines. ActionFailed without it."""
        if self.machines is None:
            raise ActionFailed("This applier has no Ironic or MaaS")
        return self.machines


def rereading(*channels: grpc.aio.Channel) -> Reread:
    """Tells every collector; a lost word costs one period of its polls, so it is only logged."""
    stubs = [model_pb2_grpc.ModelServiceStub(channel) for channel in channels]

    async def tell(stub: model_pb2_grpc.ModelServiceAsyncStub, kind: str, uuid: str) -> None:
        try:
            await stub.Reread(
                model_pb2.RereadRequest(kind=kind, uuids=[uuid]), timeout=_REREAD_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            log.info("collector not told, it will look by itself", problem=error.details())

    async def reread(kind: str, uuid: str) -> None:
        await asyncio.gather(*(tell(stub, kind, uuid) for stub in stubs))

    return reread
