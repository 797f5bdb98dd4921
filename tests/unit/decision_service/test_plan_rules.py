"""Rules of the catalogue that hold for every run: phases, measures, one transaction, parents."""

from __future__ import annotations

import numpy as np
import pytest
from cluster_builders import cloud, host, server

from trimtab_common.domain.lifecycle import AuditState
from trimtab_common.domain.resources import BY_PLURAL
from trimtab_common.runtime.settings import load
from trimtab_decision.framework import Registry, Solution, Strategy
from trimtab_decision.framework.errors import PlannerMisconfigured
from trimtab_decision.goals import GOALS
from trimtab_decision.planners.weight import PARALLELIZATION, WEIGHTS, WeightPlanner
from trimtab_decision.planners.workload_stabilization import WEIGHTS as CHAINED
from trimtab_decision.plugins import PLANNERS, load_registry
from trimtab_decision.settings import DecisionSettings, groups

PHASES = []


class Phased(Strategy):
    name, display_name, goal_name, planner = "phased", "Phased", "server_consolidation", "half"
    needs_compute_model, required_metrics = True, ("host_cpu_usage",)

    def pre_execute(self, context):
        super().pre_execute(context)
        PHASES.append("pre")

    def do_execute(self, context, solution):  # noqa: ARG002, its interface
        PHASES.append("do")
        for number in range(3):
            solution.add_action("nop", input_parameters={"message": str(number)})

    def post_execute(self, context, solution):  # noqa: ARG002, its interface
        PHASES.append("post")
        solution.indicators = {
            "compute_nodes_count": 8,
            "released_compute_nodes_count": 1,
            "instance_migrations_count": 4,
        }


class Half(WeightPlanner):
    """Orders; when told to, gives up in the middle."""

    name = "half"
    fails = False

    def plan(self, actions):
        planned = super().plan(actions)
        if Half.fails:
            raise PlannerMisconfigured("gave up in the middle")
        return planned


@pytest.fixture
def registry():
    PHASES.clear()
    Half.fails = False
    selectors = load_registry(entry_points=False).selectors.values()
    return Registry(
        goals=GOALS, strategies=(Phased,), planners=(*PLANNERS, Half), selectors=selectors
    )


@pytest.fixture
async def audit(world):
    world.model.now, _ = cloud([host("a")], [server("s", "a")])
    return await world.add_audit(goal="server_consolidation", strategy="phased")


@pytest.mark.req("B-016", "B-017", "B-019")
async def test_three_phases_then_the_measure_without_another_question(world, audit):
    done = await world.run(audit)
    assert done.state is AuditState.SUCCEEDED, done.status_message
    assert PHASES == ["pre", "do", "post"]
    assert len(world.metrics.asked) == 1  # before the strategy; the indicators ask nobody
    (plan,) = await world.plans(audit)
    assert [(one["name"], one["value"]) for one in plan.global_efficacy] == [
        ("released_nodes_ratio", 12.5)  # not released nodes for each migration
    ]
    assert plan.efficacy_indicators[0].name == "compute_nodes_count"


@pytest.mark.req("B-212")
async def test_a_planner_that_fails_leaves_no_half_plan(world, audit):
    Half.fails = True
    done = await world.run(audit)
    assert (done.state, done.status_message) == (AuditState.FAILED, "gave up in the middle")
    assert await world.plans(audit) == []
    async with world.store.read() as session:
        assert await session.actions.list() == []


@pytest.mark.req("A-105")
async def test_an_action_names_its_parents_and_a_plan_no_first_action(world, audit):
    await world.run(audit)
    (plan,) = await world.plans(audit)
    actions = await world.actions(plan)
    by_uuid = {action.uuid for action in actions}
    assert sorted(len(action.parents) for action in actions) == [0, 1, 1]
    assert all(set(action.parents) <= by_uuid for action in actions)
    names = {name: {field.name for field in table.fields} for name, table in BY_PLURAL.items()}
    assert "parents" in names["actions"]
    assert not {"next", "next_uuid"} & names["actions"]
    assert not {"first_action_id", "first_action_uuid"} & names["action_plans"]


@pytest.mark.req("B-019")
def test_volumes_updated_are_measured_by_those_planned_of_those_to_update():
    solution = Solution(goal_name="hardware_maintenance", strategy_name="x", planner_name="weight")
    goal = next(goal for goal in GOALS if goal.name == "hardware_maintenance")
    counts = {spec.name: 0 for spec in goal.efficacy.indicators}
    counts |= {"volume_update_count": 4, "planned_volume_update_count": 3}
    ratios = {one.name: one.formula(counts) for one in goal.efficacy.global_indicators}
    assert ratios["volume_update_ratio"] == 75.0
    assert solution.indicators == {}


@pytest.mark.req("B-219", "A-106")
def test_the_weights_are_watchers():
    assert WEIGHTS | {"stop": 35} == WEIGHTS
    assert {kind: WEIGHTS[kind] for kind in ("nop", "volume_migrate", "migrate", "resize")} == {
        "nop": 70,
        "volume_migrate": 60,
        "migrate": 30,
        "resize": 20,
    }
    assert PARALLELIZATION["migrate"] == 2
    order = ("turn_host_to_acpi_s3_state", "resize", "migrate", "sleep")
    assert [CHAINED[kind] for kind in order] == [0, 1, 2, 3]
    assert (CHAINED["change_nova_service_state"], CHAINED["nop"]) == (4, 5)


@pytest.mark.req("A-106")
def test_an_operator_chooses_the_fallback_planner_and_its_numbers(tmp_path):
    file = tmp_path / "watcher.conf"
    file.write_text(
        "[watcher_planner]\nplanner = workload_stabilization\n"
        "[watcher_planners.weight]\nweights = migrate:80,nop:5\nparallelization = migrate:4\n"
        "[watcher_planners.workload_stabilization]\nweights = nop:9\n"
    )
    _, conf = load(["--config-file", str(file)], prog="t", groups=groups(()))
    settings = DecisionSettings.from_conf(conf, host="h")
    assert settings.default_planner == "workload_stabilization"
    weight = settings.planner_options["weight"]
    assert (weight["weights"], weight["parallelization"]) == (
        {"migrate": "80", "nop": "5"},
        {"migrate": "4"},
    )
    assert settings.planner_options["workload_stabilization"]["weights"] == {"nop": "9"}


@pytest.mark.req("B-045")
def test_room_is_what_is_not_reserved_times_the_ratio_less_the_flavors():
    snapshot, _ = cloud(
        [host("a", vcpus=8, memory=1000, disk=100, reserved=(1, 100, 10), ratio=(2.0, 1.5, 1.0))],
        [
            server("s", "a", vcpus=2, memory=300, disk=20),
            server("t", "a", vcpus=1, memory=50, disk=5),
        ],
    )
    assert snapshot.capacity().tolist() == [[14.0, 1350.0, 90.0]]
    assert snapshot.used().tolist() == [[3, 350, 25]]
    assert np.array_equal(snapshot.capacity() - snapshot.used(), [[11.0, 1000.0, 65.0]])
