"""A fresh full read of the cloud beside a running system's live model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import openstack

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_cli import grpc_client
from trimtab_cli.system import System
from trimtab_collector.compute.full_read import FullRead
from trimtab_collector.compute.reading import ComputeReader
from trimtab_common.domain.changes import Change
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.placement import Placement
from trimtab_common.openstack.session import CloudSession
from trimtab_common.wire import saved_model


class Comparison:
    """`differences` is what would have to change in the live model to make it equal to the cloud."""

    def __init__(self, system: System, token: Callable[[], str]) -> None:
        self._address = f"127.0.0.1:{system.ports.gateway}"
        self._token = token

    def differences(self) -> list[Change]:
        model = self._live()
        read = asyncio.run(_fresh(model))
        return list(model.changes_to(read.hosts, read.servers, read.aggregates, read.health))

    def await_equal(self, limit_s: float) -> float:
        """How long it took; AssertionError names what differs after the limit."""
        began = time.monotonic()
        while found := self.differences():
            assert time.monotonic() - began < limit_s, f"{len(found)} differences: {found}"
        return time.monotonic() - began

    def _live(self) -> ComputeModel:
        with grpc_client.channel(self._address, self._token()) as channel:
            stub = model_pb2_grpc.ModelServiceStub(channel)
            return saved_model.model_of(stub.GetModel(model_pb2.GetModelRequest(), timeout=30))


async def _fresh(model: ComputeModel) -> FullRead:
    session = CloudSession(lambda: openstack.connect(cloud="watcher"))
    try:
        return await ComputeReader(Nova(session), Placement(session)).read_all(model)
    finally:
        await session.close()
