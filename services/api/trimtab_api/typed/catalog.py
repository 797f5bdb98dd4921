"""CatalogService: goals and strategies, read from the record (A-039)."""

from __future__ import annotations

from trimtab.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from trimtab_api.ports import Deps
from trimtab_api.typed import pages, values
from trimtab_api.typed.gate import Context, Gate
from trimtab_common.domain.records import Goal, Strategy


class CatalogService(catalog_pb2_grpc.CatalogServiceServicer):
    """Lists what decision declared at its start."""

    def __init__(self, deps: Deps, gate: Gate) -> None:
        self._deps = deps
        self._gate = gate

    async def ListGoals(  # noqa: N802, named by the proto
        self, request: catalog_pb2.ListGoalsRequest, context: Context
    ) -> catalog_pb2.ListGoalsResponse:
        """A page of goals."""
        await self._gate.check(context, "goal:get_all")
        async with self._deps.store.read() as session:
            page = await pages.read(
                session.goals,
                size=request.page_size,
                token=request.page_token,
                max_size=self._deps.settings.max_limit,
            )
        return catalog_pb2.ListGoalsResponse(
            goals=map(_goal, page.records), next_page_token=page.next_token
        )

    async def ListStrategies(  # noqa: N802, named by the proto
        self, request: catalog_pb2.ListStrategiesRequest, context: Context
    ) -> catalog_pb2.ListStrategiesResponse:
        """A page of strategies, of one goal when named."""
        await self._gate.check(context, "strategy:get_all")
        async with self._deps.store.read() as session:
            page = await pages.read(
                session.strategies,
                size=request.page_size,
                token=request.page_token,
                max_size=self._deps.settings.max_limit,
                filters={"goal": request.goal},
            )
        return catalog_pb2.ListStrategiesResponse(
            strategies=map(_strategy, page.records), next_page_token=page.next_token
        )


def _goal(goal: Goal) -> catalog_pb2.Goal:
    return catalog_pb2.Goal(
        uuid=goal.uuid,
        name=goal.name,
        display_name=goal.display_name,
        efficacy_specification=(
            catalog_pb2.EfficacyIndicatorSpec(
                name=item.get("name", ""),
                description=item.get("description", ""),
                unit=item.get("unit") or "",
                schema=item.get("schema") or "",
            )
            for item in goal.efficacy_specification
        ),
    )


def _strategy(strategy: Strategy) -> catalog_pb2.Strategy:
    return catalog_pb2.Strategy(
        uuid=strategy.uuid,
        name=strategy.name,
        display_name=strategy.display_name,
        goal_uuid=strategy.goal_uuid,
        goal_name=strategy.goal_name,
        parameters_spec=values.struct(strategy.parameters_spec),
    )
