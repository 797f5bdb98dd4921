"""What an audit's status message says when something it needs is missing."""

from __future__ import annotations

import pytest
from decision_world import snapshot

from trimtab_common.domain.errors import Bug, InvalidArgument
from trimtab_common.domain.lifecycle import AuditState
from trimtab_decision.errors import CollectorUnreachable
from trimtab_decision.framework import Registry, Strategy
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.goals import GOALS
from trimtab_decision.metrics import MetricQuery, queries_for
from trimtab_decision.plugins import PLANNERS

PARAMETERS = {
    "type": "object",
    "properties": {
        "periods": {
            "type": "object",
            "properties": {
                "instance": {"type": "integer", "default": 720},
                "compute_node": {"type": "integer", "default": 600},
                "node": {"type": "integer", "default": 0},
            },
            "default": {},
        },
        "granularity": {"type": "number", "default": 60},
        "aggregation_method": {
            "type": "object",
            "properties": {
                "instance": {"type": "string", "default": "max"},
                "compute_node": {"type": "string", "default": "mean"},
            },
            "default": {},
        },
    },
}


class Needy(Strategy):
    name = "needy"
    display_name = "Needy"
    goal_name = "workload_balancing"
    needs_compute_model = True
    parameters_schema = PARAMETERS
    required_metrics = ("host_cpu_usage",)
    optional_metrics = ("instance_cpu_usage",)

    def do_execute(self, context, solution):
        solution.add_action("nop", input_parameters={"hosts": context.snapshot.n_hosts})
        solution.set_indicator("instance_migrations_count", 0)


class Raising(Needy):
    name = "raising"

    def do_execute(self, context, solution):  # noqa: ARG002, the interface passes them
        raise ZeroDivisionError("division by zero")


class Mismeasured(Needy):
    name = "mismeasured"

    def do_execute(self, context, solution):  # noqa: ARG002, the interface passes them
        solution.add_action("nop")
        solution.set_indicator("instance_migrations_count", -1)


STRATEGIES = []


@pytest.fixture
def registry():
    return Registry(goals=GOALS, strategies=STRATEGIES, planners=PLANNERS)


async def add(world, strategy="needy", **fields):
    return await world.add_audit(goal="workload_balancing", strategy=strategy, **fields)


@pytest.mark.req("B-036", "C-009")
@pytest.mark.parametrize(
    ("model", "age_s", "words"),
    [
        (None, 0.0, ["The cluster state is not defined", "not connected to collector yet"]),
        (snapshot("Nova does not answer"), 0.0, ["The cluster state is stale", "Nova does not"]),
        (snapshot(), 7201.0, ["The cluster state is stale", "7201 s", "max_model_age_s"]),
    ],
)
async def test_a_model_that_is_missing_or_stale_fails_the_audit(world, model, age_s, words):
    world.model.now, world.model.age_s = model, age_s
    audit = await add(world)
    done = await world.run(audit)
    assert done.state is AuditState.FAILED
    assert all(word in done.status_message for word in words)
    assert world.thinker.questions == []
    assert await world.plans(audit) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MetricNotAvailable("No datasource supplies host_cpu_usage."), "host_cpu_usage"),
        (CollectorUnreachable("Metrics cannot be read: down."), "cannot be read"),
    ],
)
@pytest.mark.req("B-035")
async def test_metrics_that_are_not_there_fail_the_audit(world, error, words):
    world.metrics.error = error
    done = await world.run(await add(world))
    assert (done.state, words in done.status_message) == (AuditState.FAILED, True)


async def test_a_strategy_that_raises_fails_the_audit_and_is_named(world):
    audit = await add(world, "raising")
    done = await world.run(audit)
    assert done.state is AuditState.FAILED
    assert done.status_message.startswith(
        "Strategy raising failed: ZeroDivisionError: division by zero"
    )
    assert await world.plans(audit) == []


@pytest.mark.req("B-011")
async def test_indicators_that_break_the_goals_schema_fail_the_audit(world):
    audit = await add(world, "mismeasured")
    done = await world.run(audit)
    assert done.state is AuditState.FAILED
    assert "-1 is less than the minimum" in done.status_message
    assert await world.plans(audit) == []


@pytest.mark.req("B-015", "B-014", "A-083")
async def test_indicators_and_global_efficacy_are_stored_with_the_plan(world):
    audit = await add(world)
    assert (await world.run(audit)).state is AuditState.SUCCEEDED
    (plan,) = await world.plans(audit)
    assert [(i.name, i.value) for i in plan.efficacy_indicators] == [
        ("instance_migrations_count", 0.0)
    ]
    assert [(e["name"], e["value"]) for e in plan.global_efficacy] == [
        ("live_migrations_count", 0.0)
    ]
    assert plan.explanation["cost"] == {"migrations": 0, "memory_mib": 0}
    assert plan.explanation["curve"] == []


@pytest.mark.req("B-036", "C-096")
async def test_the_strategy_sees_only_the_scope_of_the_audit(world):
    scope = [
        {
            "compute": [
                {"exclude": [{"compute_nodes": [{"name": "host-a"}, {"name": "host-x"}]}]},
            ]
        }
    ]
    audit = await add(world, scope=scope)
    done = await world.run(audit)
    (plan,) = await world.plans(audit)
    (action,) = await world.actions(plan)
    assert action.input_parameters == {"hosts": 1}
    assert done.status_message == "Compute node host-x is not in the model."


class Careless(Needy):
    name = "careless"

    def do_execute(self, context, solution):  # noqa: ARG002, the interface passes them
        solution.add_action(
            "migrate",
            input_parameters={"migration_type": "live", "source_node": "host-a"},
            resource_id="00000000-0000-0000-0000-000000000001",
        )


STRATEGIES += [Needy, Raising, Mismeasured, Careless]


async def test_a_plan_that_the_verifier_refuses_is_not_stored(world):
    audit = await add(world, "careless")
    done = await world.run(audit)
    assert done.state is AuditState.FAILED
    assert done.status_message.startswith(
        "The plan of strategy careless breaks 1 rules and was thrown away (unknown_element by"
    )
    assert await world.plans(audit) == []
    assert ("audit.planner.error", "ERROR") in await world.events(audit.uuid)


@pytest.mark.req("B-133")
async def test_only_declared_metrics_are_asked_for_with_the_parameters_of_their_kind(world):
    await world.run(await add(world, parameters={"periods": {"node": 30}}))
    assert world.metrics.asked == [
        [
            MetricQuery(metric="host_cpu_usage", aggregate="mean", period_s=30, granularity_s=60),
            MetricQuery(
                metric="instance_cpu_usage",
                aggregate="max",
                period_s=720,
                granularity_s=60,
                is_optional=True,
            ),
        ]
    ]


@pytest.mark.req("B-035")
async def test_an_operators_datasources_of_a_strategy_are_passed_on(world):
    await world.run(await add(world), datasources={"needy": ("prometheus",)})
    assert world.metrics.preferred == ["prometheus"]


def test_one_period_applies_to_all_metrics():
    periods = {q.period_s for q in queries_for(Needy, {"period": 3600})}
    assert periods == {3600}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"period": 1e300}, "Parameter period is 1e.300 seconds"),
        ({"period": -1}, "Parameter period is -1 seconds"),
        (
            {"periods": {"instance": 10**15, "compute_node": 600}},
            "Parameter period is 1e.15 seconds",
        ),
        ({"granularity": 1e300}, "Parameter granularity is 1e.300 seconds"),
    ],
)
def test_seconds_that_no_datasource_can_serve_are_named(parameters, words):
    with pytest.raises(InvalidArgument, match=words):
        queries_for(Needy, parameters)


def test_less_than_a_second_is_one_second():
    queries = queries_for(Needy, {"period": 0.5, "granularity": 0.5})
    assert {(q.period_s, q.granularity_s) for q in queries} == {(1, 1)}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Bug("broken invariant"), "broken invariant"),
        (KeyError("x"), "Internal error: KeyError. decision's log on node-1 has the trace."),
    ],
)
async def test_an_error_nobody_foresaw_fails_the_audit(world, error, words):
    async def broken():
        raise error

    world.thinker.before = broken
    done = await world.run(await add(world))
    assert (done.state, done.status_message) == (AuditState.FAILED, words)
