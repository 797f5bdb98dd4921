"""A fresh full read of the cloud beside a running system's live model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import openstack

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_cli import grpc_client
from trimtab_cli.system import System
from trimtab_collector.compute.reading import ComputeReader
from trimtab_collector.storage.reading import StorageReader
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.elements import ElementModel
from trimtab_common.openstack.cinder import Cinder
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.placement import Placement
from trimtab_common.openstack.session import CloudSession
from trimtab_common.wire import element_codec, saved_model


class Comparison:
    """`differences` is what would have to change in the live model to make it equal to the cloud.

    kind: "compute" or "storage".
    """

    def __init__(self, system: System, token: Callable[[], str], kind: str = "compute") -> None:
        self._address = f"127.0.0.1:{system.ports.gateway}"
        self._token = token
        self._kind = kind

    def differences(self) -> list[Any]:
        """None when the model is right."""
        model = self.live()
        return asyncio.run(_differences(model))

    def await_equal(self, limit_s: float) -> float:
        """How long it took; AssertionError names what differs after the limit."""
        began = time.monotonic()
        while found := self.differences():
            assert time.monotonic() - began < limit_s, f"{len(found)} differences: {found}"
        return time.monotonic() - began

    def live(self) -> ComputeModel | ElementModel:
        """The model as the system has it now."""
        with grpc_client.channel(self._address, self._token()) as channel:
            stub = model_pb2_grpc.ModelServiceStub(channel)
            parts = stub.GetModel(model_pb2.GetModelRequest(kind=self._kind), timeout=30)
            if self._kind == "compute":
                return saved_model.model_of(parts)
            return element_codec.elements_of(parts)


async def _differences(model: ComputeModel | ElementModel) -> list[Any]:
    session = CloudSession(lambda: openstack.connect(cloud="watcher"))
    try:
        if isinstance(model, ComputeModel):
            reader = ComputeReader(Nova(session), Placement(session))
            return list((await reader.read_all(model)).changes_to(model))
        return (await StorageReader(Cinder(session)).read_all(model)).changes_to(model)
    finally:
        await session.close()
