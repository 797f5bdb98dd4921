"""What the scoring service declares, over gRPC; for the syncer."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from trimtab.scoring.v1 import scoring_pb2, scoring_pb2_grpc
from trimtab_common.runtime.errors import from_rpc_error
from trimtab_decision.syncer import Engine

_TIMEOUT_S = 5.0


class RemoteScoringEngines:
    """Asks ScoringService."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = scoring_pb2_grpc.ScoringServiceStub(channel)

    async def engines(self) -> Sequence[Engine]:
        """See ScoringEngines."""
        try:
            answer = await self._stub.ListEngines(
                scoring_pb2.ListEnginesRequest(), timeout=_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return [
            Engine(name=one.name, description=one.description, metainfo=one.metainfo)
            for one in answer.engines
        ]
