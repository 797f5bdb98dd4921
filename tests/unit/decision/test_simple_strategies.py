"""The dummies and the actuator."""

import pytest
from cluster_builders import run

from trimtab_common.domain.snapshot import MetricsTable
from trimtab_decision.framework import StrategyContext
from trimtab_decision.framework.errors import ScoreNotUnderstood
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


@pytest.mark.req("B-081")
def test_dummy_with_resize_always_does_the_same():
    solution = run("dummy_with_resize", (None, MetricsTable()))
    servers = ["b199db0c-1408-4d52-b5a5-5ca14de0ff36", "8db1b3c1-7938-4c34-8c03-6de14b874f8f"]
    assert [a.action_type for a in solution.actions] == [
        "nop", "nop", "sleep", "migrate", "migrate", "resize",
    ]  # fmt: skip
    assert solution.actions[0].input_parameters == {"message": "hello World"}
    assert solution.actions[1].input_parameters == {"message": "Welcome"}
    assert solution.actions[2].input_parameters == {"duration": 5.0}
    for action, uuid in zip(solution.actions[3:5], servers, strict=True):
        assert action.input_parameters == {
            "migration_type": "live",
            "source_node": "compute2",
            "destination_node": "compute3",
            "resource_name": uuid,
            "resource_id": uuid,
        }
    assert solution.actions[5].input_parameters == {"flavor": "x2", "resource_id": servers[1]}


@pytest.mark.req("B-082")
def test_dummy_with_scorer_says_what_the_engines_answer():
    asked = {}

    def score(engine, features):
        asked[engine] = features
        return (1, 0, 100, 0, 0) if engine == "dummy_scorer" else (499.5,)

    solution = run("dummy_with_scorer", (None, MetricsTable()), context={"score": score})
    assert [dict(a.input_parameters) for a in solution.actions] == [
        {"message": "Hello from Dummy Strategy with Scorer!"},
        {"message": "Detected Workload: cpu-intensive"},
        {"message": "AVG Scorer result: 499.5"},
        {"duration": 5.0},
    ]
    assert len(asked["dummy_scorer"]) == 9
    numbers = asked["dummy_avg_scorer"]
    assert len(set(numbers)) == 20
    assert all(isinstance(n, int) and 0 <= n <= 999 for n in numbers)


@pytest.mark.req("B-082")
@pytest.mark.parametrize("answer", [(), (7, 0, 0, 0, 0)])
def test_an_engine_that_answers_nonsense_fails_the_audit(answer):
    with pytest.raises(ScoreNotUnderstood):
        run("dummy_with_scorer", (None, MetricsTable()), context={"score": lambda *_: answer})
