"""The gRPC door: WatcherRest, which Envoy transcodes. One core answers every RPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.api import httpbody_pb2  # type: ignore[import-untyped]  # the wheel has no stubs

from trimtab.rest.v1 import rest_pb2, rest_pb2_grpc
from trimtab_api.rest import RestApi, RestRequest, RestResponse
from trimtab_api.typed.gate import Context, metadata

DEFAULT_MEDIA = "application/json"


class WatcherRest(rest_pb2_grpc.WatcherRestServicer):
    """Every method asks the core; the RPC's name only tells Envoy and metrics endpoints apart."""

    def __init__(self, api: RestApi) -> None:
        self._api = api

    async def _unary(self, request: rest_pb2.RestRequest, context: Context) -> Any:
        answer = await self._ask(request, context)
        return httpbody_pb2.HttpBody(content_type=_media(answer), data=answer.body)

    async def _stream(self, request: rest_pb2.RestRequest, context: Context) -> AsyncIterator[Any]:
        answer = await self._ask(request, context)
        for chunk in answer.chunks or (b"",):
            yield httpbody_pb2.HttpBody(content_type=_media(answer), data=chunk)

    async def _ask(self, request: rest_pb2.RestRequest, context: Context) -> RestResponse:
        headers = metadata(context)
        scheme = headers.get("x-forwarded-proto", "http")
        host = headers.get("x-forwarded-host") or headers.get("host", "127.0.0.1:9322")
        answer = await self._api.handle(
            RestRequest(
                method=headers.get("x-envoy-original-method", "GET"),
                raw_path=headers.get("x-envoy-original-path", "/"),
                headers=headers,
                body=request.body.data,
                origin=f"{scheme}://{host}",
            )
        )
        sent = [(name, value) for name, value in answer.headers if name != "content-type"]
        await context.send_initial_metadata((("x-http-code", str(answer.status)), *sent))
        return answer

    GetRoot = _unary
    GetV1 = _unary
    ListGoals = _unary
    GetGoal = _unary
    ListStrategies = _unary
    GetStrategy = _unary
    GetStrategyState = _unary
    ListAuditTemplates = _unary
    GetAuditTemplate = _unary
    CreateAuditTemplate = _unary
    UpdateAuditTemplate = _unary
    DeleteAuditTemplate = _unary
    ListAudits = _unary
    GetAudit = _unary
    CreateAudit = _unary
    UpdateAudit = _unary
    DeleteAudit = _unary
    ListActionPlans = _unary
    GetActionPlan = _unary
    UpdateActionPlan = _unary
    DeleteActionPlan = _unary
    StartActionPlan = _unary
    RollBackActionPlan = _unary
    ListActions = _unary
    GetAction = _unary
    UpdateAction = _unary
    ListScoringEngines = _unary
    GetScoringEngine = _unary
    ListServices = _unary
    GetService = _unary
    GetDataModel = _stream
    TriggerWebhook = _unary
    Other = _unary


def _media(answer: RestResponse) -> str:
    return answer.header("content-type", DEFAULT_MEDIA)
