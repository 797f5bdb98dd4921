"""Entry point of the scoring service: wiring only. It has no database and no cloud credentials."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from inference import grpc_service_pb2, grpc_service_pb2_grpc
from trimtab.scoring.v1 import scoring_pb2, scoring_pb2_grpc
from trimtab_common.runtime.service import Service, run
from trimtab_common.runtime.settings import CommonSettings, load
from trimtab_scoring.asking import Engines
from trimtab_scoring.discovery import Configure, configured, no_configuration
from trimtab_scoring.inference_servicer import InferenceServicer
from trimtab_scoring.registry import EngineRegistry
from trimtab_scoring.servicer import ScoringServicer
from trimtab_scoring.settings import GROUPS, ScoringSettings

NAME = "trimtab-scoring"
_DEFAULTS = ScoringSettings()
_MAX_TENSORS_BYTES = 16 * 1024 * 1024
"""The features of 200,000 servers come in one request; outsiders pass the edge's check first."""


def engines_of(
    settings: ScoringSettings, configure: Configure = no_configuration
) -> EngineRegistry:
    """Built-in engines, those of plug-ins with their options, and remote ones."""
    file = settings.remote_engines_file
    if file is None:
        return EngineRegistry(configure=configure)
    from trimtab_scoring.remote import RemoteEngines  # noqa: PLC0415, most have none, and it costs

    return EngineRegistry(more=(RemoteEngines(file),), configure=configure)


async def build(
    settings: CommonSettings,
    registry: EngineRegistry | None = None,
    scoring: ScoringSettings = _DEFAULTS,
) -> Service:
    """The service, not started."""
    engines = Engines(registry or engines_of(scoring), scoring)
    service = Service(
        NAME, settings.scoring, settings=settings, max_request_bytes=_MAX_TENSORS_BYTES
    )
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
    service.background(engines.follow, "engines")
    return service


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until told to stop; the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    settings, conf = load(arguments, prog=NAME, groups=GROUPS)
    scoring = ScoringSettings.from_conf(conf)
    return run(
        lambda: build(settings, engines_of(scoring, configured(conf)), scoring),
        settings=settings,
        name=NAME,
    )


if __name__ == "__main__":
    sys.exit(main())
