"""ScoringService: Watcher's interface to the engines. Engines run in a thread, never on the loop."""

from __future__ import annotations

import asyncio
import json

import grpc

from trimtab.scoring.v1 import scoring_pb2 as pb
from trimtab.scoring.v1 import scoring_pb2_grpc
from trimtab_scoring.registry import EngineRegistry
from trimtab_scoring.scores import parse_features, score_row


class ScoringServicer(scoring_pb2_grpc.ScoringServiceServicer):
    """Lists engines and asks them."""

    def __init__(self, registry: EngineRegistry) -> None:
        self._registry = registry

    async def ListEngines(  # noqa: N802, gRPC's name
        self,
        request: pb.ListEnginesRequest,  # noqa: ARG002, it has no fields
        context: grpc.aio.ServicerContext[pb.ListEnginesRequest, pb.ListEnginesResponse],  # noqa: ARG002, errors are raised
    ) -> pb.ListEnginesResponse:
        """Every engine, by name."""
        return pb.ListEnginesResponse(
            engines=[
                pb.Engine(
                    name=engine.name, description=engine.description, metainfo=engine.metainfo
                )
                for engine in self._registry.list()
            ]
        )

    async def CalculateScore(  # noqa: N802, gRPC's name
        self,
        request: pb.CalculateScoreRequest,
        context: grpc.aio.ServicerContext[pb.CalculateScoreRequest, pb.CalculateScoreResponse],  # noqa: ARG002, errors are raised
    ) -> pb.CalculateScoreResponse:
        """Scores of one row, in the form in which the features came."""
        engine = self._registry.get(request.engine)
        as_json = bool(request.features_json)
        features = parse_features(request.features_json) if as_json else list(request.features)
        scores = await asyncio.to_thread(score_row, engine, features)
        return pb.CalculateScoreResponse(
            scores=scores, scores_json=json.dumps(scores) if as_json else ""
        )
