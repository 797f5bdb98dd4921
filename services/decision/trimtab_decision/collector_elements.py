"""The storage and baremetal models, read from collector when an audit needs one.

Few strategies do, and these models are small beside compute, so no copy is kept: one GetModel per
audit, cut to its scope by collector.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import grpc
import grpc.aio

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.wire.element_codec import elements_of
from trimtab_decision.errors import ClusterStateStale, CollectorUnreachable
from trimtab_decision.framework.errors import ClusterStateNotDefined

KINDS = ("storage", "baremetal")
_LIST_TIMEOUT_S = 5.0
_NOT_THERE = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)


class ElementsReader(Protocol):
    """Gives models of plain rows."""

    async def read(self, kind: str, scope: Sequence[Any]) -> ElementSnapshot:
        """The model as the audit's scope lets it be seen.

        ClusterStateNotDefined: collector has none. ClusterStateStale: too old to plan on.
        CollectorUnreachable: no answer.
        """
        ...

    async def problems(self) -> Mapping[str, str]:
        """By model of plain rows why it cannot be planned on, "" if it can.

        CollectorUnreachable: no answer.
        """
        ...


class CollectorElements:
    """Asks ModelService."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout_s: float) -> None:
        self._stub = model_pb2_grpc.ModelServiceStub(channel)
        self._timeout_s = timeout_s

    async def read(self, kind: str, scope: Sequence[Any]) -> ElementSnapshot:
        """See ElementsReader."""
        request = model_pb2.GetModelRequest(
            kind=kind, scope_json=json.dumps(list(scope), sort_keys=True) if scope else ""
        )
        try:
            call = self._stub.GetModel(request, timeout=self._timeout_s)
            messages = [message async for message in call]
        except grpc.aio.AioRpcError as error:
            said = (error.details() or error.code().name).rstrip(".")
            if error.code() in _NOT_THERE:
                raise ClusterStateNotDefined(
                    f"The {kind} model is not defined: {said}. "
                    "Create the audit again when collector reads it; its log says more."
                ) from error
            raise CollectorUnreachable(
                f"The {kind} model cannot be read: {said}. "
                "Create the audit again when collector answers."
            ) from error
        model = await asyncio.to_thread(elements_of, messages)
        snapshot = model.snapshot()
        if snapshot.stale_reason:
            raise ClusterStateStale(
                f"The {kind} model is stale: {snapshot.stale_reason}. "
                "Create the audit again when collector reads the cloud."
            )
        return snapshot

    async def problems(self) -> Mapping[str, str]:
        """See ElementsReader."""
        try:
            answer = await self._stub.ListModels(
                model_pb2.ListModelsRequest(), timeout=_LIST_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            said = (error.details() or error.code().name).rstrip(".")
            raise CollectorUnreachable(f"Collector's models cannot be listed: {said}.") from error
        found = {info.kind: info for info in answer.models}
        return {kind: _problem(kind, found.get(kind)) for kind in KINDS}


def _problem(kind: str, info: model_pb2.ModelInfo | None) -> str:
    if info is None:
        return f"collector holds no {kind} model; name it in [collector] collector_plugins"
    if not info.HasField("synced_at"):
        return info.stale_reason or f"the {kind} model was not read yet"
    return info.stale_reason
