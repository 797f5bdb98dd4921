"""CatalogService: goals, strategies and scoring engines, read from the record (A-039)."""

from __future__ import annotations

from trimtab.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from trimtab_api import idents
from trimtab_api.ports import Deps
from trimtab_api.typed import etags, pages, values
from trimtab_api.typed.gate import Context, Gate
from trimtab_common.domain.records import Goal, ScoringEngine, Strategy
from trimtab_common.domain.resources import GOALS, SCORING_ENGINES, STRATEGIES

NAME_ROW = "Name"
"""The row of a strategy's state that only repeats its name, for Watcher's clients."""


class CatalogService(catalog_pb2_grpc.CatalogServiceServicer):
    """Shows what decision declared at its start."""

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
                session.goals, GOALS, request, max_size=self._deps.settings.max_limit
            )
        return catalog_pb2.ListGoalsResponse(
            goals=map(_goal, page.records), next_page_token=page.next_token
        )

    async def GetGoal(  # noqa: N802, named by the proto
        self, request: catalog_pb2.GetGoalRequest, context: Context
    ) -> catalog_pb2.Goal:
        """One goal."""
        await self._gate.check(context, "goal:get")
        async with self._deps.store.read() as session:
            return _goal(await session.goals.get(idents.parse(GOALS, request.goal)))

    async def ListStrategies(  # noqa: N802, named by the proto
        self, request: catalog_pb2.ListStrategiesRequest, context: Context
    ) -> catalog_pb2.ListStrategiesResponse:
        """A page of strategies, of one goal when named."""
        await self._gate.check(context, "strategy:get_all")
        async with self._deps.store.read() as session:
            page = await pages.read(
                session.strategies,
                STRATEGIES,
                request,
                max_size=self._deps.settings.max_limit,
                also={"goal": request.goal},
            )
        return catalog_pb2.ListStrategiesResponse(
            strategies=map(_strategy, page.records), next_page_token=page.next_token
        )

    async def GetStrategy(  # noqa: N802, named by the proto
        self, request: catalog_pb2.GetStrategyRequest, context: Context
    ) -> catalog_pb2.Strategy:
        """One strategy."""
        await self._gate.check(context, "strategy:get")
        return _strategy(await self._find_strategy(request.strategy))

    async def GetStrategyState(  # noqa: N802, named by the proto
        self, request: catalog_pb2.GetStrategyStateRequest, context: Context
    ) -> catalog_pb2.StrategyState:
        """What a strategy needs, and whether it is there (A-041)."""
        await self._gate.check(context, "strategy:state")
        strategy = await self._find_strategy(request.strategy)
        rows = await self._deps.strategy_states.state_of(strategy.name)
        return catalog_pb2.StrategyState(
            strategy=strategy.name,
            requirements=(
                catalog_pb2.StrategyRequirement(
                    type=row.type,
                    mandatory=row.mandatory,
                    state=values.value(row.state),
                    comment=row.comment,
                )
                for row in rows
                if row.type != NAME_ROW
            ),
        )

    async def ListScoringEngines(  # noqa: N802, named by the proto
        self, request: catalog_pb2.ListScoringEnginesRequest, context: Context
    ) -> catalog_pb2.ListScoringEnginesResponse:
        """A page of scoring engines."""
        await self._gate.check(context, "scoring_engine:get_all")
        async with self._deps.store.read() as session:
            page = await pages.read(
                session.scoring_engines,
                SCORING_ENGINES,
                request,
                max_size=self._deps.settings.max_limit,
            )
        return catalog_pb2.ListScoringEnginesResponse(
            scoring_engines=map(_engine, page.records), next_page_token=page.next_token
        )

    async def GetScoringEngine(  # noqa: N802, named by the proto
        self, request: catalog_pb2.GetScoringEngineRequest, context: Context
    ) -> catalog_pb2.ScoringEngine:
        """One scoring engine."""
        await self._gate.check(context, "scoring_engine:get")
        async with self._deps.store.read() as session:
            ident = idents.parse(SCORING_ENGINES, request.scoring_engine)
            return _engine(await session.scoring_engines.get(ident))

    async def _find_strategy(self, ident: str) -> Strategy:
        async with self._deps.store.read() as session:
            return await session.strategies.get(idents.parse(STRATEGIES, ident))


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
        created_at=values.timestamp(goal.created_at),
        updated_at=values.timestamp(goal.updated_at),
        etag=etags.of(goal),
    )


def _strategy(strategy: Strategy) -> catalog_pb2.Strategy:
    return catalog_pb2.Strategy(
        uuid=strategy.uuid,
        name=strategy.name,
        display_name=strategy.display_name,
        goal_uuid=strategy.goal_uuid,
        goal_name=strategy.goal_name,
        parameters_spec=values.struct(strategy.parameters_spec),
        etag=etags.of(strategy),
    )


def _engine(engine: ScoringEngine) -> catalog_pb2.ScoringEngine:
    return catalog_pb2.ScoringEngine(
        uuid=engine.uuid,
        name=engine.name,
        description=engine.description,
        metainfo=engine.metainfo,
        etag=etags.of(engine),
    )
