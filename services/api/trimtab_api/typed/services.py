"""OpsService: which services are alive, what waits and runs, how fresh what they work on is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from trimtab.ops.v1 import ops_pb2, ops_pb2_grpc
from trimtab_api import idents
from trimtab_api.ports import Deps, ModelStatus
from trimtab_api.typed import pages, values
from trimtab_api.typed.gate import Context, Gate
from trimtab_common.domain.errors import InvalidArgument, Unavailable
from trimtab_common.domain.lifecycle import AuditState, PlanState
from trimtab_common.domain.records import ActionPlan, Audit, Service
from trimtab_common.domain.resources import SERVICES
from trimtab_common.domain.services import status
from trimtab_common.store import Query, Session

OPEN_AUDITS = (AuditState.PENDING, AuditState.ONGOING)
OPEN_PLANS = (PlanState.PENDING, PlanState.ONGOING, PlanState.CANCELLING)


class OpsService(ops_pb2_grpc.OpsServiceServicer):
    """Shows operators what runs."""

    def __init__(self, deps: Deps, gate: Gate) -> None:
        self._deps = deps
        self._gate = gate

    async def ListServices(  # noqa: N802, named by the proto
        self, request: ops_pb2.ListServicesRequest, context: Context
    ) -> ops_pb2.ListServicesResponse:
        """Every service that ever sent a heartbeat."""
        await self._gate.check(context, "service:get_all")
        async with self._deps.store.read() as session:
            page = await pages.read(
                session.services, SERVICES, request, max_size=self._deps.settings.max_limit
            )
        return ops_pb2.ListServicesResponse(
            services=map(self._message, page.records), next_page_token=page.next_token
        )

    async def GetService(  # noqa: N802, named by the proto
        self, request: ops_pb2.GetServiceRequest, context: Context
    ) -> ops_pb2.Service:
        """One service."""
        await self._gate.check(context, "service:get")
        async with self._deps.store.read() as session:
            found = await session.services.get(idents.parse(SERVICES, request.service))
        return self._message(found)

    async def ListWork(  # noqa: N802, named by the proto
        self, request: ops_pb2.ListWorkRequest, context: Context
    ) -> ops_pb2.ListWorkResponse:
        """Audits, then plans, that wait or run."""
        await self._gate.check(context, "audit:get_all", "action_plan:get_all")
        limit = pages.size(request.page_size, self._deps.settings.max_limit)
        kind, after = _position(request.page_token)
        async with self._deps.store.read() as session:
            found: list[tuple[str, Any]] = []
            if kind == "audit":
                found += [("audit", one) for one in await _open_audits(session, after, limit + 1)]
                after = None
            if len(found) <= limit:
                left = limit + 1 - len(found)
                found += [("action_plan", one) for one in await _open_plans(session, after, left)]
        shown = found[:limit]
        token = ""
        if len(found) > limit:
            last_kind, last = shown[-1]
            token = pages.encoded(last.id, last_kind)
        return ops_pb2.ListWorkResponse(
            items=(_work(kind, one) for kind, one in shown), next_page_token=token
        )

    async def GetSyncStatus(  # noqa: N802, named by the proto
        self,
        request: ops_pb2.GetSyncStatusRequest,  # noqa: ARG002, an empty message
        context: Context,
    ) -> ops_pb2.SyncStatus:
        """Counts of the catalogue, ages of the models."""
        await self._gate.check(context, "service:get_all")
        newest: list[datetime] = []
        counts: list[int] = []
        async with self._deps.store.read() as session:
            for table in (session.goals, session.strategies, session.scoring_engines):
                listed: Sequence[Any] = await table.list(Query())
                counts.append(len(listed))
                newest += [one.created_at for one in listed if one.created_at is not None]
        models: Sequence[ModelStatus] = ()
        problem = ""
        try:
            models = await self._deps.models.statuses()
        except Unavailable as error:
            problem = error.message
        goals, strategies, engines = counts
        return ops_pb2.SyncStatus(
            goals=goals,
            strategies=strategies,
            scoring_engines=engines,
            catalog_changed_at=values.timestamp(max(newest, default=None)),
            models=map(_model, models),
            collector_problem=problem,
        )

    def _message(self, service: Service) -> ops_pb2.Service:
        now, down_time_s = self._deps.clock.now(), self._deps.settings.service_down_time_s
        return ops_pb2.Service(
            id=service.id,
            name=service.name,
            host=service.host,
            status=status(service, now=now, down_time_s=down_time_s),
            last_seen_at=values.timestamp(service.last_seen_up),
        )


def _position(token: str) -> tuple[str, int | None]:
    if not token:
        return "audit", None
    for kind in ("audit", "action_plan"):
        try:
            return kind, pages.decoded(token, kind)
        except InvalidArgument:
            continue
    raise InvalidArgument("page_token is not one that this service gave.")


async def _open_audits(session: Session, after: int | None, limit: int) -> Sequence[Audit]:
    filters = {"state__in": [state.value for state in OPEN_AUDITS]}
    return await session.audits.list(Query(filters=filters, marker_id=after, limit=limit))


async def _open_plans(session: Session, after: int | None, limit: int) -> Sequence[ActionPlan]:
    filters = {"state__in": [state.value for state in OPEN_PLANS]}
    return await session.action_plans.list(Query(filters=filters, marker_id=after, limit=limit))


def _work(kind: str, one: Any) -> ops_pb2.WorkItem:
    is_audit = isinstance(one, Audit)
    return ops_pb2.WorkItem(
        kind=kind,
        uuid=one.uuid,
        name=one.name if is_audit else one.audit_name,
        state=one.state.value,
        strategy=one.strategy_name or "",
        hostname=one.hostname or "",
        created_at=values.timestamp(one.created_at),
        updated_at=values.timestamp(one.updated_at),
        next_run_at=values.timestamp(one.next_run_time if is_audit else None),
    )


def _model(model: ModelStatus) -> ops_pb2.ModelStatus:
    return ops_pb2.ModelStatus(
        kind=model.kind,
        hosts=model.hosts,
        servers=model.servers,
        synced_at=values.timestamp(model.synced_at),
        changed_at=values.timestamp(model.changed_at),
        partial=model.partial,
        stale_reason=model.stale_reason,
    )
