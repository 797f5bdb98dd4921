"""Parameters: defaults filled, wrong ones named."""

import pytest

from trimtab_common.domain.errors import InvalidArgument
from trimtab_decision.framework.parameters import check_parameters
from trimtab_decision.plugins import load_registry

SCHEMA = {
    "type": "object",
    "properties": {
        "limit": {"type": "number", "minimum": 1, "default": 2},
        "inner": {
            "type": "object",
            "properties": {"a": {"type": "integer", "default": 5}, "b": {"type": "integer"}},
            "default": {"a": 1},
        },
        "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"default": 0}}}},
    },
}


@pytest.mark.req("B-031")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"limit": 2, "inner": {"a": 1}}),
        ({"limit": 3, "inner": {"b": 1}}, {"limit": 3, "inner": {"a": 5, "b": 1}}),
        ({"list": [{}]}, {"limit": 2, "inner": {"a": 1}, "list": [{"n": 0}]}),
    ],
)
def test_defaults_are_filled_at_every_level(given, expected):
    assert check_parameters(SCHEMA, given) == expected


@pytest.mark.req("B-031")
@pytest.mark.parametrize("given", [{"x": 1}, {"inner": {"x": 1}}, {"list": [{"x": 1}]}])
def test_unknown_keys_are_refused_at_every_level(given):
    with pytest.raises(InvalidArgument, match="Audit parameter x are not allowed"):
        check_parameters(SCHEMA, given)


@pytest.mark.req("B-032")
def test_a_value_out_of_bounds_is_named():
    with pytest.raises(InvalidArgument, match="Invalid parameter limit: 0 is less than"):
        check_parameters(SCHEMA, {"limit": 0})


def test_defaults_are_never_shared_between_audits():
    check_parameters(SCHEMA, {})["inner"]["a"] = 99
    assert check_parameters(SCHEMA, {})["inner"]["a"] == 1


@pytest.mark.req("B-031")
def test_the_defaults_of_every_strategy_are_valid():
    required = {"actuator": {"actions": []}, "host_maintenance": {"maintenance_node": "a"}}
    for name, strategy in load_registry(entry_points=False).strategies.items():
        check_parameters(strategy.parameters_schema, required.get(name, {}))
