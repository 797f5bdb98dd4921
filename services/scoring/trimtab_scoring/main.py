"""Entry point of the scoring service: wiring only. It has no database and no cloud credentials."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from inference import grpc_service_pb2, grpc_service_pb2_grpc
from trimtab.scoring.v1 import scoring_pb2, scoring_pb2_grpc
from trimtab_common.runtime.service import Service, run
from trimtab_common.runtime.settings import CommonSettings, load
from trimtab_scoring.inference_servicer import InferenceServicer
from trimtab_scoring.registry import EngineRegistry
from trimtab_scoring.servicer import ScoringServicer

NAME = "trimtab-scoring"


async def build(settings: CommonSettings, registry: EngineRegistry | None = None) -> Service:
    """The service, not started."""
    engines = registry or EngineRegistry()
    service = Service(NAME, settings.scoring, settings=settings)
    service.add(
        ScoringServicer(engines),
        scoring_pb2_grpc.add_ScoringServiceServicer_to_server,
        scoring_pb2.DESCRIPTOR.services_by_name["ScoringService"].full_name,
    )
    service.add(
        InferenceServicer(engines),
        grpc_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server,
        grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
    )
    return service


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until told to stop; the exit code."""
    settings, _ = load(sys.argv[1:] if argv is None else argv, prog=NAME)
    return run(lambda: build(settings), settings=settings, name=NAME)


if __name__ == "__main__":
    sys.exit(main())
