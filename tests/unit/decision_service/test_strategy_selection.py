"""The strategy of an audit that names none: the first, the first that can work, or the best."""

from __future__ import annotations

import pytest

from trimtab_common.domain.errors import Unavailable
from trimtab_common.domain.lifecycle import AuditState
from trimtab_decision.framework import Registry, Strategy
from trimtab_decision.framework.errors import NoFeasiblePlan
from trimtab_decision.goals import GOALS
from trimtab_decision.metrics import Datasource
from trimtab_decision.plugins import PLANNERS, load_registry
from trimtab_decision.selection import Selector


class Consolidating(Strategy):
    """Says that it releases so many of ten hosts, by so many actions."""

    goal_name = "server_consolidation"
    display_name = "x"
    released, n_actions = 0, 1

    def do_execute(self, context, solution):  # noqa: ARG002, its interface
        if self.released < 0:
            raise NoFeasiblePlan("nothing can be done")
        for number in range(self.n_actions):
            message = f"{self.name} {number}"
            solution.add_action("nop", input_parameters={"message": message})
        solution.indicators = {
            "compute_nodes_count": 10,
            "released_compute_nodes_count": self.released,
            "instance_migrations_count": self.n_actions,
        }


def kind(name, **attributes):
    return type(name, (Consolidating,), {"name": name, **attributes})


CANDIDATES = (
    kind("a_needs_metrics", required_metrics=("host_power",), released=9),
    kind("b_needs_parameters", parameters_schema={
        "type": "object",
        "properties": {"where": {"type": "string"}},
        "required": ["where"],
    }, released=9),
    kind("c_needs_storage", needs_storage_model=True, released=9),
    kind("d_modest", released=1),
    kind("e_good_but_long", released=3, n_actions=5),
    kind("f_good", released=3, n_actions=2),
    kind("g_fails", released=-1),
)  # fmt: skip


@pytest.fixture
def registry():
    loaded = load_registry(entry_points=False)
    return Registry(
        goals=GOALS,
        strategies=CANDIDATES,
        planners=PLANNERS,
        selectors=loaded.selectors.values(),
    )


async def done(world, selector, **audit):
    made = await world.add_audit(goal="server_consolidation", **{"strategy": None} | audit)
    ended = await world.run(made, strategy_selector=selector)
    plans = await world.plans(made)
    return ended, plans[0].strategy_name if plans else None


@pytest.mark.req("A-151", "A-040")
async def test_strategies_that_cannot_work_here_are_passed_over_and_it_is_said(world):
    ended, chosen = await done(world, Selector.AVAILABLE)
    assert (ended.state, chosen) == (AuditState.SUCCEEDED, "d_modest")
    assert ended.status_message == (
        "Strategy d_modest was chosen. Not: a_needs_metrics (no datasource answers), "
        "b_needs_parameters (its parameters must be given), "
        "c_needs_storage (there is no such model)."
    )


@pytest.mark.req("A-151", "A-040")
async def test_a_strategy_whose_needs_are_met_is_the_first_available(world):
    world.metrics.sources = [
        Datasource(name="p", is_available=True, problem="", metrics=frozenset({"host_power"}))
    ]
    assert (await done(world, Selector.AVAILABLE))[1] == "a_needs_metrics"
    world.metrics.error = Unavailable("collector is away")
    assert (await done(world, Selector.AVAILABLE))[1] == "d_modest"


@pytest.mark.req("A-151")
async def test_the_best_is_what_the_goal_values_most_with_the_fewest_actions(world):
    ended, chosen = await done(world, Selector.BEST)
    assert (ended.state, chosen) == (AuditState.SUCCEEDED, "f_good")
    assert ended.status_message.startswith("Strategy f_good was chosen of 4. Not: a_needs_met")
    assert "g_fails (nothing can be done)" in ended.status_message
    (plan,) = await world.plans(ended)
    told = {action.input_parameters["message"] for action in await world.actions(plan)}
    assert told == {"f_good 0", "f_good 1"}


@pytest.mark.req("A-040")
async def test_the_first_of_all_and_a_named_one_are_taken_as_they_are(world):
    assert (await done(world, Selector.FIRST))[1] == "a_needs_metrics"
    assert (await done(world, Selector.BEST, strategy="d_modest"))[1] == "d_modest"


@pytest.mark.req("A-151")
async def test_when_every_candidate_fails_the_first_error_is_told(world):
    for name in ("d_modest", "e_good_but_long", "f_good"):
        del world.registry.strategies[name]
    world.registry.strategies["h_fails"] = kind("h_fails", released=-1)
    ended, chosen = await done(world, Selector.BEST)
    assert (ended.state, chosen) == (AuditState.FAILED, None)
    assert ended.status_message == "nothing can be done"


@pytest.mark.parametrize(
    ("goal", "values", "worth"),
    [
        (
            "workload_balancing",
            {"standard_deviation_before_audit": 0.4, "standard_deviation_after_audit": 0.1},
            0.75,
        ),
        ("workload_balancing", {"instance_migrations_count": 3}, 0.0),
        ("workload_balancing", {"standard_deviation_before_audit": 0.0}, 0.0),
        (
            "server_consolidation",
            {"compute_nodes_count": 8, "released_compute_nodes_count": 2},
            25.0,
        ),
    ],
)
def test_goals_measure_what_a_plan_is_worth(goal, values, worth):
    found = next(g for g in GOALS if g.name == goal).efficacy.objective(values)
    assert found == pytest.approx(worth)
