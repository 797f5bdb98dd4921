"""A goal that no loaded strategy serves."""

import pytest

from trimtab_common.domain.lifecycle import AuditState
from trimtab_decision.framework import Registry
from trimtab_decision.goals import GOALS
from trimtab_decision.plugins import PLANNERS
from trimtab_decision.strategies.dummy.strategy import Dummy


@pytest.fixture
def registry():
    return Registry(goals=GOALS, strategies=(Dummy,), planners=PLANNERS)


@pytest.mark.req("A-040", "B-030")
async def test_a_goal_without_strategy_fails_the_audit(world):
    audit = await world.add_audit(goal="noisy_neighbor", strategy=None)
    done = await world.run(audit)
    assert done.state is AuditState.FAILED
    assert done.status_message.startswith("No strategy could be found")
    assert await world.plans(audit) == []
