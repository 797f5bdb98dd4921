"""What an audit hands to its strategy besides the model, and plans that nobody could carry out."""

import dataclasses

import pytest

from trimtab_common.domain.elements import Upsert
from trimtab_common.domain.lifecycle import ActionState, Actor, AuditState, AuditType, PlanState
from trimtab_common.domain.records import Action, ActionPlan
from trimtab_common.domain.storage import VOLUME, VolumeRow, storage_model
from trimtab_decision.framework import Registry, Strategy
from trimtab_decision.goals import GOALS
from trimtab_decision.metrics import with_double_period
from trimtab_decision.plugins import PLANNERS, load_registry
from trimtab_decision.strategies.actuator.strategy import Actuator
from trimtab_decision.strategies.zone_migration.strategy import ZoneMigration

SEEN = []


class Curious(Strategy):
    """Remembers its context."""

    name = "curious"
    display_name = "Curious"
    goal_name = "dummy"
    needs_compute_model = True
    required_metrics = ("host_cpu_usage",)
    double_period_metrics = ("host_cpu_usage",)

    def do_execute(self, context, solution):
        SEEN.append(context)
        solution.add_action("nop", input_parameters={"message": "seen"})


@pytest.fixture
def registry():
    SEEN.clear()
    loaded = load_registry(entry_points=False)
    return Registry(
        goals=GOALS,
        strategies=(Curious, StorageSeen, Actuator),
        planners=PLANNERS,
        filters=loaded.filters.values(),
        selectors=loaded.selectors.values(),
    )


async def declare(world, *action_types):
    async with world.store.write() as session:
        await session.action_descriptions.sync(dict.fromkeys(action_types, "x"))


def odd_action(world):
    actions = [{"action_type": "paint", "input_parameters": {}}]
    return world.add_audit(
        goal="unclassified", strategy="actuator", parameters={"actions": actions}
    )


@pytest.mark.req("B-264")
async def test_a_plan_with_an_action_that_nobody_can_run_fails_the_audit_and_names_it(world):
    await declare(world, "nop", "migrate")
    audit = await odd_action(world)
    done = await world.run(audit)
    assert done.state is AuditState.FAILED
    assert "No applier can carry out actions of type paint" in done.status_message
    assert "known are migrate, nop" in done.status_message
    assert await world.plans(audit) == []


async def test_before_any_applier_has_started_nothing_is_refused(world):
    done = await world.run(await odd_action(world))
    assert done.state is AuditState.SUCCEEDED


@pytest.mark.req("B-055", "B-056", "B-050")
async def test_filters_and_selection_of_the_settings_reach_the_strategy(world):
    audit = await world.add_audit(strategy="curious")
    await world.run(audit, filters={"curious": ("SameHostFilter",)})
    assert [one.name for one in SEEN[0].filters] == ["SameHostFilter"]
    assert SEEN[0].selector is None


@pytest.mark.req("B-170")
async def test_a_metric_over_two_periods_is_read_too_and_has_its_own_name(world):
    await world.run(await world.add_audit(strategy="curious"))
    (first,), (second,) = world.metrics.asked
    assert second.period_s == 2 * first.period_s
    assert {"host_cpu_usage", "host_cpu_usage_2p"} <= set(SEEN[0].metrics.host)
    table = with_double_period(SEEN[0].metrics, SEEN[0].metrics)
    assert table.source == "fake"


@pytest.mark.req("B-117")
@pytest.mark.parametrize(
    ("audit_type", "expected"),
    [(AuditType.CONTINUOUS, {"server-1"}), (AuditType.ONESHOT, set())],
)
async def test_a_continuous_audit_knows_whose_migration_failed_before(world, audit_type, expected):
    fields = {"interval": "60"} if audit_type is AuditType.CONTINUOUS else {}
    audit = await world.add_audit(strategy="curious", audit_type=audit_type, **fields)
    plan = await world.store.publish_plan(
        ActionPlan(uuid="p" * 8, audit_id=audit.id, strategy_id=audit.strategy_id),
        [
            Action(
                uuid=f"a{number}",
                action_plan_id=0,
                action_type=kind,
                input_parameters={"resource_id": f"server-{number}"},
            )
            for number, kind in ((1, "migrate"), (2, "stop"), (3, "migrate"))
        ],
    )
    async with world.store.write() as session:
        await session.action_plans.transition(plan.uuid, to=PlanState.PENDING, actor=Actor.API)
        await session.action_plans.transition(plan.uuid, to=PlanState.ONGOING, actor=Actor.APPLIER)
        for uuid in ("a1", "a2"):
            for state in (ActionState.ONGOING, ActionState.FAILED):
                await session.actions.transition(uuid, to=state, actor=Actor.APPLIER)
    await world.recommender().recommend(audit)
    assert SEEN[0].failed_servers == expected


class StorageSeen(Curious):
    name = "storage_seen"
    required_metrics = ()
    double_period_metrics = ()
    needs_compute_model = False
    needs_storage_model = True


class FakeElements:
    def __init__(self):
        self.asked = []

    async def read(self, kind, scope):
        self.asked.append((kind, list(scope)))
        model = storage_model()
        model.apply([Upsert(VolumeRow(uuid="v1", name="disk"))])
        return model.snapshot()


@pytest.mark.req("B-036")
async def test_a_strategy_gets_the_models_that_it_says_it_needs(world):
    elements = FakeElements()
    recommender = dataclasses.replace(world.recommender(), elements=elements)
    scope = [{"storage": [{"exclude": []}]}]
    await recommender.recommend(await world.add_audit(strategy="storage_seen", scope=scope))
    assert elements.asked == [("storage", scope)]
    assert [row.name for row in SEEN[0].storage.of(VOLUME)] == ["disk"]
    await recommender.recommend(await world.add_audit(strategy="curious"))
    assert len(elements.asked) == 1


@pytest.mark.req("B-187")
def test_zone_migration_needs_the_storage_model_only_for_pools():
    models = ZoneMigration.models
    assert models({}) == frozenset()
    assert models({"storage_pools": [{"src_pool": "p", "dst_pool": "q"}]}) == {"storage"}
