"""dummy and actuator."""

import pytest

from trimtab_decision.framework import StrategyContext
from trimtab_decision.strategies.actuator.strategy import Actuator
from trimtab_decision.strategies.dummy.strategy import Dummy


@pytest.mark.req("B-080")
def test_dummy_says_hello_twice_and_sleeps():
    solution = Dummy().execute(StrategyContext(parameters={"para1": 3.2, "para2": "hello"}))
    assert [(a.action_type, dict(a.input_parameters)) for a in solution.actions] == [
        ("nop", {"message": "hello World"}),
        ("nop", {"message": "hello"}),
        ("sleep", {"duration": 3.2}),
    ]


@pytest.mark.req("B-083")
def test_actuator_copies_its_actions_in_order():
    actions = [
        {"action_type": "sleep", "input_parameters": {"duration": 1}},
        {"action_type": "stop", "input_parameters": {"x": 1}, "resource_id": "s"},
    ]
    solution = Actuator().execute(StrategyContext(parameters={"actions": actions}))
    assert [(a.action_type, dict(a.input_parameters)) for a in solution.actions] == [
        ("sleep", {"duration": 1}),
        ("stop", {"x": 1, "resource_id": "s"}),
    ]
