"""Parameters of audits: defaults filled in, wrong ones named."""

import copy

import pytest

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.rules.parameters import checked
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


@pytest.mark.req("A-054", "B-031")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"limit": 2, "inner": {"a": 1}}),
        ({"limit": 3, "inner": {"b": 1}}, {"limit": 3, "inner": {"a": 5, "b": 1}}),
        ({"list": [{}]}, {"limit": 2, "inner": {"a": 1}, "list": [{"n": 0}]}),
    ],
)
def test_defaults_are_filled_at_every_level(given, expected):
    before = copy.deepcopy((given, SCHEMA))
    assert checked(given, SCHEMA) == expected
    assert (given, SCHEMA) == before


@pytest.mark.req("B-031")
@pytest.mark.parametrize("given", [{"x": 1}, {"inner": {"x": 1}}, {"list": [{"x": 1}]}])
def test_unknown_keys_are_refused_at_every_level(given):
    with pytest.raises(InvalidArgument, match="Audit parameter x are not allowed"):
        checked(given, SCHEMA)


@pytest.mark.req("B-032")
def test_a_value_out_of_bounds_is_named():
    with pytest.raises(
        InvalidArgument, match="Invalid parameters for strategy at /limit: 0 is less than"
    ):
        checked({"limit": 0}, SCHEMA)


def test_defaults_are_never_shared_between_audits():
    checked({}, SCHEMA)["inner"]["a"] = 99
    assert checked({}, SCHEMA)["inner"]["a"] == 1


@pytest.mark.req("B-031")
def test_the_defaults_of_every_strategy_are_valid():
    required = {"actuator": {"actions": []}, "host_maintenance": {"maintenance_node": "a"}}
    for name, strategy in load_registry(entry_points=False).strategies.items():
        checked(required.get(name, {}), strategy.parameters_schema)


@pytest.mark.req("A-054", "B-031")
@pytest.mark.parametrize("schema", [None, {}, {"type": "object", "properties": {}}])
def test_parameters_without_a_schema_are_refused(schema):
    assert checked({}, schema) == {}
    with pytest.raises(InvalidArgument, match="no predefined strategy"):
        checked({"a": 1}, schema)


def test_the_place_of_a_wrong_value_is_named():
    numbers = {"items": {"properties": {"n": {"type": "number"}}}}
    with pytest.raises(InvalidArgument, match=r"at /list/1/n: 'x' is not of type"):
        checked({"list": [{"n": 1}, {"n": "x"}]}, {"properties": {"list": numbers}})
