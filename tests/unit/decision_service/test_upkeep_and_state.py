from __future__ import annotations

import asyncio

import pytest

from trimtab_common.domain.lifecycle import PlanState
from trimtab_common.store import Query
from trimtab_decision import membership, upkeep
from trimtab_decision.errors import CollectorUnreachable
from trimtab_decision.framework import Registry, Strategy
from trimtab_decision.framework.errors import UnknownPlugin
from trimtab_decision.goals import GOALS
from trimtab_decision.metrics import Datasource
from trimtab_decision.plugins import PLANNERS
from trimtab_decision.settings import DecisionSettings
from trimtab_decision.state import Row, StrategyStates
from trimtab_decision.strategies.dummy.strategy import Dummy

DAY_S = 86_400


@pytest.mark.req("A-096")
@pytest.mark.parametrize(
    ("age_s", "hours", "expected"),
    [
        (DAY_S, 24, PlanState.RECOMMENDED),
        (DAY_S + 1, 24, PlanState.SUPERSEDED),
        (DAY_S * 100, 0, PlanState.RECOMMENDED),
        (3601, 1, PlanState.SUPERSEDED),
    ],
)
async def test_recommended_plans_strictly_older_than_the_limit_expire(
    world, age_s, hours, expected
):
    plan = await world.add_plan()
    started = await world.add_plan(PlanState.PENDING)
    await world.clock.advance(age_s)
    settings = DecisionSettings(action_plan_expiry_h=hours)
    await upkeep.expire_plans(world.store, settings=settings, clock=world.clock)
    async with world.store.read() as session:
        assert (await session.action_plans.get(plan.uuid)).state is expected
        assert (await session.action_plans.get(started.uuid)).state is PlanState.PENDING


async def test_leases_of_work_that_ended_long_ago_are_removed(world):
    for kind in ("action_plan", "audit"):
        async with world.store.write() as session:
            await session.leases.acquire(kind, "11111111-1111-4111-8111-111111111111", "x", 24.0)
    await world.clock.advance(3600)
    async with world.store.write() as session:
        fresh = await session.leases.acquire("syncer", "22222222", "y", 24.0)
    await upkeep.remove_leftovers(world.store, clock=world.clock)
    await world.clock.advance(25)
    await upkeep.remove_leftovers(world.store, clock=world.clock)
    async with world.store.read() as session:
        left = [await session.leases.get(kind, "22222222") for kind in ("syncer",)]
        for kind in ("action_plan", "audit"):
            assert await session.leases.expired(kind) == []
    assert left == [fresh]


@pytest.mark.req("A-113")
async def test_the_first_heartbeat_makes_the_row_and_later_ones_keep_it_alive(world):
    await membership.beat(world.store, "node-1")
    await world.clock.advance(60)
    await membership.beat(world.store, "node-1")
    async with world.store.read() as session:
        (service,) = await session.services.list(Query())
    assert (service.name, service.host) == ("watcher-decision-engine", "node-1")
    assert service.last_seen_up == world.clock.now()


class Measuring(Strategy):
    name = "measuring"
    display_name = "Measuring"
    goal_name = "dummy"
    required_metrics = ("host_cpu_usage",)
    optional_metrics = ("host_power",)

    def do_execute(self, context, solution):
        raise NotImplementedError


class Plain(Measuring):
    name = "plain"
    required_metrics = ()
    optional_metrics = ()


@pytest.fixture
def registry():
    return Registry(goals=GOALS, strategies=[Dummy, Measuring, Plain], planners=PLANNERS)


@pytest.fixture
def states(world):
    return StrategyStates(registry=world.registry, model=world.model, metrics=world.metrics)


MODELS = [
    {"compute_model": "available"},
    {"storage_model": "not available"},
    {"baremetal_model": "not available"},
]


@pytest.mark.req("A-041", "B-046", "C-171")
async def test_a_strategy_without_metrics_presents_no_datasource(states):
    assert await states.of("plain") == [
        Row(
            type="Datasource",
            state="Datasource is not presented for this strategy",
            mandatory=True,
        ),
        Row(type="Metrics", state=[], mandatory=False),
        Row(type="CDM", state=MODELS, mandatory=True),
        Row(type="Name", state="plain", mandatory=False),
    ]


def source(name, *metrics, is_available=True):
    return Datasource(
        name=name,
        is_available=is_available,
        problem="" if is_available else "connection refused",
        metrics=frozenset(metrics),
    )


@pytest.mark.req("A-041", "A-042", "B-035", "C-171")
@pytest.mark.parametrize(
    ("sources", "state", "metrics"),
    [
        (
            [source("prometheus", "host_cpu_usage")],
            "prometheus: available",
            ["available", "not available"],
        ),
        (
            [source("gnocchi"), source("prometheus", "host_cpu_usage", "host_power")],
            "prometheus: available",
            ["available", "available"],
        ),
        (
            [source("prometheus", is_available=False)],
            "prometheus: not available",
            ["not available", "not available"],
        ),
        ([], "none: not available", ["not available", "not available"]),
    ],
)
async def test_datasource_and_metrics_are_those_of_the_best_datasource(
    world, states, sources, state, metrics
):
    world.metrics.sources = sources
    datasource, found, *_ = await states.of("measuring")
    assert (datasource.type, datasource.state) == ("Datasource", state)
    assert found.state == [{"host_cpu_usage": metrics[0]}, {"host_power": metrics[1]}]


@pytest.mark.req("A-042", "B-046")
@pytest.mark.parametrize(
    ("value", "comment"), [(100.0, ""), (130.0, "host_cpu_usage of host-a is 130, outside 0..100")]
)
async def test_values_out_of_their_bounds_are_said_in_the_comment(world, states, value, comment):
    world.metrics.sources = [source("prometheus", "host_cpu_usage")]
    world.metrics.value = value
    _, metrics, *_ = await states.of("measuring")
    assert metrics.comment.startswith(comment)
    assert bool(metrics.comment) == bool(comment)
    assert [query.metric for query in world.metrics.asked[-1]] == ["host_cpu_usage"]


async def cooled_down_since(world):
    """States that were asked when a value was wrong; it is right now."""
    world.metrics.sources = [source("prometheus", "host_cpu_usage")]
    states = StrategyStates(
        registry=world.registry, model=world.model, metrics=world.metrics, clock=world.clock
    )
    world.metrics.value = 130.0
    await states.of("measuring")
    world.metrics.value = 100.0
    return states


@pytest.mark.req("A-042")
async def test_what_was_said_of_the_values_holds_for_a_while(world):
    states = await cooled_down_since(world)
    _, metrics, *_ = await states.of("measuring")
    assert "is 130" in metrics.comment
    assert len(world.metrics.asked) == 1
    await world.clock.advance(301)
    _, metrics, *_ = await states.of("measuring")
    assert metrics.comment == ""


@pytest.mark.req("A-042")
async def test_values_are_read_again_while_the_last_word_still_answers(world):
    states = await cooled_down_since(world)
    await world.clock.advance(31)
    _, metrics, *_ = await states.of("measuring")
    assert "is 130" in metrics.comment
    async with asyncio.timeout(10):
        while metrics.comment:
            await asyncio.sleep(0)
            _, metrics, *_ = await states.of("measuring")
    assert len(world.metrics.asked) == 2


@pytest.mark.req("A-042")
async def test_a_reading_that_fails_in_the_background_is_told_to_who_asks_next(world):
    states = await cooled_down_since(world)
    world.metrics.read_error = CollectorUnreachable("collector does not answer")
    await world.clock.advance(31)
    _, metrics, *_ = await states.of("measuring")
    assert "is 130" in metrics.comment
    async with asyncio.timeout(10):
        while "is 130" in metrics.comment:
            await asyncio.sleep(0)
            _, metrics, *_ = await states.of("measuring")
    assert metrics.comment == "collector does not answer"
    world.metrics.read_error = None
    _, metrics, *_ = await states.of("measuring")
    assert metrics.comment == ""


async def test_what_does_not_answer_is_said_in_the_comment(world, states):
    world.metrics.error = CollectorUnreachable("collector does not answer")
    world.model.now = None
    datasource, _, model, _ = await states.of("measuring")
    assert datasource.comment == "collector does not answer"
    assert model.state[0] == {"compute_model": "not available"}
    assert model.comment == "not connected to collector yet"


async def test_an_unknown_strategy_is_not_found(states):
    with pytest.raises(UnknownPlugin):
        await states.of("nobody")
