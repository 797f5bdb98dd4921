"""GRPCInferenceService: the same engines in the Open Inference Protocol, version 2."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from importlib import metadata

import grpc

from inference import grpc_service_pb2 as pb
from inference import grpc_service_pb2_grpc
from trimtab_scoring.asking import Engines
from trimtab_scoring.columns import Column, columns_of
from trimtab_scoring.engine import ScoringEngine
from trimtab_scoring.registry import EngineNotFound
from trimtab_scoring.scores import score_batch
from trimtab_scoring.tensors import COLUMNS, FEATURES, SCORES, UNITS, read_request, write_scores

VERSION = "1"
"""Every engine has one version; a new version of a model is a new name (B-314)."""
PLATFORM = "trimtab"

_ANY_SIZE = -1


class InferenceServicer(grpc_service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers unmodified KServe and Triton clients."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def ServerLive(  # noqa: N802, the protocol's name
        self,
        request: pb.ServerLiveRequest,  # noqa: ARG002, it has no fields
        context: grpc.aio.ServicerContext[pb.ServerLiveRequest, pb.ServerLiveResponse],  # noqa: ARG002, never fails
    ) -> pb.ServerLiveResponse:
        """It is, since it answers."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(  # noqa: N802, the protocol's name
        self,
        request: pb.ServerReadyRequest,  # noqa: ARG002, it has no fields
        context: grpc.aio.ServicerContext[pb.ServerReadyRequest, pb.ServerReadyResponse],  # noqa: ARG002, never fails
    ) -> pb.ServerReadyResponse:
        """Engines are loaded before the server starts."""
        return pb.ServerReadyResponse(ready=True)

    async def ModelReady(  # noqa: N802, the protocol's name
        self,
        request: pb.ModelReadyRequest,
        context: grpc.aio.ServicerContext[pb.ModelReadyRequest, pb.ModelReadyResponse],  # noqa: ARG002, never fails
    ) -> pb.ModelReadyResponse:
        """Whether there is such an engine."""
        try:
            await self._engine(request.name, request.version)
        except EngineNotFound:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def ServerMetadata(  # noqa: N802, the protocol's name
        self,
        request: pb.ServerMetadataRequest,  # noqa: ARG002, it has no fields
        context: grpc.aio.ServicerContext[pb.ServerMetadataRequest, pb.ServerMetadataResponse],  # noqa: ARG002, never fails
    ) -> pb.ServerMetadataResponse:
        """Trimtab and its version."""
        return pb.ServerMetadataResponse(
            name="trimtab-scoring",
            version=metadata.version("trimtab"),
            extensions=["model_repository"],
        )

    async def ModelMetadata(  # noqa: N802, the protocol's name
        self,
        request: pb.ModelMetadataRequest,
        context: grpc.aio.ServicerContext[pb.ModelMetadataRequest, pb.ModelMetadataResponse],  # noqa: ARG002, errors are raised
    ) -> pb.ModelMetadataResponse:
        """Input and output of one engine, as batches of rows, with the names and units of columns."""
        engine = await self._engine(request.name, request.version)
        columns = columns_of(engine)
        return pb.ModelMetadataResponse(
            name=engine.name,
            versions=[VERSION],
            platform=PLATFORM,
            inputs=[_tensor(FEATURES, engine.n_features, columns.features)],
            outputs=[_tensor(SCORES, engine.n_scores, columns.scores)],
            parameters={
                key: pb.InferParameter(string_param=text) for key, text in columns.metadata.items()
            },
        )

    async def ModelInfer(  # noqa: N802, the protocol's name
        self,
        request: pb.ModelInferRequest,
        context: grpc.aio.ServicerContext[pb.ModelInferRequest, pb.ModelInferResponse],
    ) -> pb.ModelInferResponse:
        """Scores of each row, raw when the request came raw."""
        engine = await self._engine(request.model_name, request.model_version)
        asked = read_request(engine, request)
        scores = await self._engines.run(engine, partial(score_batch, engine, asked.rows), context)
        response = pb.ModelInferResponse(
            model_name=engine.name, model_version=VERSION, id=request.id
        )
        write_scores(response, engine, asked, scores, raw=bool(request.raw_input_contents))
        return response

    async def RepositoryIndex(  # noqa: N802, the protocol's name
        self,
        request: pb.RepositoryIndexRequest,  # noqa: ARG002, there is one repository and all are ready
        context: grpc.aio.ServicerContext[pb.RepositoryIndexRequest, pb.RepositoryIndexResponse],  # noqa: ARG002, never fails
    ) -> pb.RepositoryIndexResponse:
        """Every engine, by name."""
        index = pb.RepositoryIndexResponse.ModelIndex
        return pb.RepositoryIndexResponse(
            models=[
                index(name=engine.name, version=VERSION, state="READY")
                for engine in await self._engines.list()
            ]
        )

    async def _engine(self, name: str, version: str) -> ScoringEngine:
        engine = await self._engines.get(name)
        if version not in ("", VERSION):
            raise EngineNotFound(
                f"Scoring engine {name} has no version {version!r}; its only version is {VERSION}."
            )
        return engine


def _tensor(
    name: str, size: int | None, columns: Sequence[Column]
) -> pb.ModelMetadataResponse.TensorMetadata:
    texts = {
        COLUMNS: json.dumps([column.name for column in columns]),
        UNITS: json.dumps([column.unit for column in columns]),
    }
    return pb.ModelMetadataResponse.TensorMetadata(
        name=name,
        datatype="FP64",
        shape=[_ANY_SIZE, size or _ANY_SIZE],
        parameters={key: pb.InferParameter(string_param=text) for key, text in texts.items()}
        if columns
        else {},
    )
