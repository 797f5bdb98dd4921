"""ScoringService: Watcher's interface to the engines. Engines run in a thread, never on the loop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

import grpc

from trimtab.scoring.v1 import scoring_pb2 as pb
from trimtab.scoring.v1 import scoring_pb2_grpc
from trimtab_scoring.asking import Engines
from trimtab_scoring.columns import Column, columns_of, order_of
from trimtab_scoring.engine import FeaturesRefused, ScoringEngine
from trimtab_scoring.scores import parse_features, score_row


class ScoringServicer(scoring_pb2_grpc.ScoringServiceServicer):
    """Lists engines and asks them."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def ListEngines(  # noqa: N802, gRPC's name
        self,
        request: pb.ListEnginesRequest,  # noqa: ARG002, it has no fields
        context: grpc.aio.ServicerContext[pb.ListEnginesRequest, pb.ListEnginesResponse],  # noqa: ARG002, errors are raised
    ) -> pb.ListEnginesResponse:
        """Every engine, by name."""
        return pb.ListEnginesResponse(
            engines=[_described(engine) for engine in await self._engines.list()]
        )

    async def CalculateScore(  # noqa: N802, gRPC's name
        self,
        request: pb.CalculateScoreRequest,
        context: grpc.aio.ServicerContext[pb.CalculateScoreRequest, pb.CalculateScoreResponse],
    ) -> pb.CalculateScoreResponse:
        """Scores of one row, in the form in which the features came."""
        engine = await self._engines.get(request.engine)
        as_json = bool(request.features_json)
        features = parse_features(request.features_json) if as_json else list(request.features)
        row = _ordered(engine, features, list(request.feature_names))
        scores = await self._engines.run(engine, partial(score_row, engine, row), context)
        return pb.CalculateScoreResponse(
            scores=scores, scores_json=json.dumps(scores) if as_json else ""
        )


def _ordered(
    engine: ScoringEngine, features: Sequence[float], names: Sequence[str]
) -> Sequence[float]:
    """The features in the engine's order, when the client names them."""
    if not names:
        return features
    if len(names) != len(features):
        raise FeaturesRefused(f"{len(features)} features have {len(names)} names.")
    return [features[place] for place in order_of(engine, names)]


def _described(engine: ScoringEngine) -> pb.Engine:
    columns = columns_of(engine)
    return pb.Engine(
        name=engine.name,
        description=engine.description,
        metainfo=engine.metainfo,
        metadata=dict(columns.metadata),
        features=_columns(columns.features),
        scores=_columns(columns.scores),
    )


def _columns(columns: Sequence[Column]) -> list[pb.Column]:
    return [pb.Column(name=column.name, unit=column.unit) for column in columns]
