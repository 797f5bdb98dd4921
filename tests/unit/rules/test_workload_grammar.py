"""The specification's own samples of workload characters, and what must be refused."""

from __future__ import annotations

import pytest

from trimtab_common.domain.workloads import CharacterRefused, ValueMissing
from trimtab_common.rules import workload_grammar as grammar

CPU_BOUND = """\
watcher:
  derived_from: tosca.nodes.Root
  description: '{vcpus} or {cpu_util}'
  properties:
    vcpus:
      required: true
      weight: -20
      type: integer
      constraints:
        - equal: 2
    cpu_util:
      required: true
      weight: 19
      type: integer
      constraints:
        - greater_than: 90
"""
DISK_IO = """\
watcher:
  derived_from: tosca.nodes.Root
  properties:
    disk_iops:
      required: true
      weight: 5
      type: integer
      constraints:
        - greater_than: 1200
"""
BIG_DATA = "big_data_workload = (memory.usage > 2000 MB AND disk.device.iops < 1500 counts/s)"
CPU_BOUND_LINE = "cpu_bound_workload: (vcpus = 2 Cores OR cpu_util > 90)"


@pytest.mark.req("B-322", "B-321", "B-325")
def test_the_sample_of_the_specification_is_true_with_two_cores_at_89_percent():
    found = grammar.parse(CPU_BOUND).evaluate({"vcpus": 2, "cpu_util": 89})
    assert found.properties == {"vcpus": True, "cpu_util": False}
    assert found.is_match


@pytest.mark.req("B-325", "B-321")
@pytest.mark.parametrize(
    ("text", "values", "is_match"),
    [
        (CPU_BOUND, {"vcpus": 4, "cpu_util": 91}, True),
        (CPU_BOUND, {"vcpus": 4, "cpu_util": 90}, False),
        (CPU_BOUND_LINE, {"vcpus": 2, "cpu_util": 0}, True),
        (CPU_BOUND_LINE, {"vcpus": 3, "cpu_util": 90}, False),
        (DISK_IO, {"disk_iops": 1201}, True),
        (DISK_IO, {"disk_iops": 1200}, False),
        (BIG_DATA, {"memory.usage": 2001, "disk.device.iops": 1499}, True),
        (BIG_DATA, {"memory.usage": 2001, "disk.device.iops": 1500}, False),
        (BIG_DATA, {"memory.usage": 2000, "disk.device.iops": 1}, False),
    ],
)
def test_the_characters_of_the_specification_parse_and_judge(text, values, is_match):
    assert grammar.parse(text).evaluate(values).is_match is is_match


@pytest.mark.req("B-325", "B-320")
def test_names_weights_and_resources_are_read():
    character = grammar.parse(CPU_BOUND)
    assert [(u.resource, u.weight, u.is_required) for u in character.units] == [
        ("vcpus", -20, True),
        ("cpu_util", 19, True),
    ]
    assert grammar.parse(DISK_IO).units[0].weight == 5
    assert grammar.parse(BIG_DATA).name == "big_data_workload"
    assert grammar.parse(CPU_BOUND_LINE).name == "cpu_bound_workload"


def tosca(properties, description=None):
    lines = ["watcher:", "  properties:", *(f"    {line}" for line in properties)]
    if description is not None:
        lines.insert(1, f"  description: '{description}'")
    return "\n".join(lines)


@pytest.mark.req("B-320")
@pytest.mark.parametrize(
    ("constraint", "held", "broken"),
    [
        ("equal: 5", 5, 4),
        ("greater_than: 5", 6, 5),
        ("less_than: 5", 4, 5),
        ("greater_or_equal: 5", 5, 4.9),
        ("less_or_equal: 5", 5, 5.1),
        ("in_range: [2, 5]", 5, 5.1),
        ("in_range: [2, UNBOUNDED]", 1e9, 1.9),
    ],
)
def test_every_operator_holds_where_it_should(constraint, held, broken):
    character = grammar.parse(tosca([f"x: {{type: float, constraints: [{{{constraint}}}]}}"]))
    assert character.evaluate({"x": held}).is_match
    assert not character.evaluate({"x": broken}).is_match


A_B_C = [f"{name}: {{constraints: [{{greater_than: 0}}]}}" for name in "abc"]


@pytest.mark.req("B-320", "B-321")
@pytest.mark.parametrize(
    ("description", "matching"),
    [
        (None, {"111"}),
        ("a server in prose", {"111"}),
        ("{a} and {b}", {"111", "110"}),
        ("{a} or {b} and {c}", {"111", "110", "101", "100", "011"}),
        ("({a} or {b}) and {c}", {"111", "101", "011"}),
        ("{a} AND ({b} OR ({c}))", {"111", "110", "101"}),
    ],
)
def test_properties_are_joined_as_the_description_says(description, matching):
    character = grammar.parse(tosca(A_B_C, description))
    cases = [f"{n:03b}" for n in range(8)]
    found = {
        case
        for case in cases
        if character.evaluate(dict(zip("abc", map(int, case), strict=True))).is_match
    }
    assert found == matching


@pytest.mark.req("B-321")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            tosca(["x: {weight: 20, constraints: [{equal: 1}]}"]),
            r"-20 \(highest\) to 19 \(lowest\)",
        ),
        (tosca(["x: {weight: -21, constraints: [{equal: 1}]}"]), "weight of x"),
        (tosca(["x: {weight: 1.5, constraints: [{equal: 1}]}"]), "must be an integer"),
        (tosca(["x: {constraints: [{like: 1}]}"]), "unknown operator 'like'"),
        (tosca(A_B_C, "{a} or {nobody}"), "names nobody, which is no property"),
        (tosca(A_B_C, "{a} or"), "unexpected its end"),
        (tosca(A_B_C, "{a} {b}"), "unexpected b"),
        (tosca(A_B_C, "({a} or {b}"), "unexpected its end"),
        (tosca(A_B_C, "{a} or {}"), "braces without a property"),
        (tosca(A_B_C, "{a} or __import__"), "is no formula: '__import__'"),
        (tosca(A_B_C, "(" * 40 + "{a}" + ")" * 40), "is no formula"),
        (tosca(["x: {type: string, constraints: [{equal: 1}]}"]), "integer or float"),
        (tosca(["x: {type: integer, constraints: [{equal: 1.5}]}"]), "is an integer"),
        (tosca(["x: {constraints: [{equal: yes}]}"]), "which is no number"),
        (tosca(["x: {constraints: [{equal: .nan}]}"]), "which is no number"),
        (tosca(["x: {constraints: []}"]), "needs a list of constraints"),
        (tosca(["x: {constraints: [{in_range: [5, 2]}]}"]), "ends before it begins"),
        (tosca(["memory.usage: {unit: lbs, constraints: [{equal: 1}]}"]), "is measured in MB"),
        (tosca(["x: {default: 1, constraints: [{equal: 1}]}"]), "unknown member default"),
        ("properties: {}", "member `watcher`"),
        ("watcher: {properties: {}}", "must name 1 to"),
        ("watcher: {properties: [", "not valid YAML"),
        ("!!python/object/apply:os.system ['true'] # properties", "not valid YAML"),
        ("hello", "names no resource"),
        ("vcpus = 2 or", "unexpected its end"),
        ("vcpus = 2 [99]", "weight of vcpus"),
        ("vcpus > 1 and vcpus < 4", "named twice"),
        ("x" * 20_000, "at most 16384"),
    ],
)
def test_what_is_no_character_is_refused_with_the_reason(text, told):
    with pytest.raises(CharacterRefused, match=told):
        grammar.parse(text)


@pytest.mark.req("B-321")
def test_a_missing_required_value_is_an_error_and_an_optional_one_is_left_out():
    with pytest.raises(ValueMissing, match="cpu_util"):
        grammar.parse(CPU_BOUND).evaluate({"vcpus": 2})
    with pytest.raises(ValueMissing, match="cpu_util"):
        grammar.parse(CPU_BOUND).evaluate({"vcpus": 2, "cpu_util": float("nan")})
    character = grammar.parse("vcpus = 2 and cpu_util > 90?")
    assert character.evaluate({"vcpus": 2}).is_match
    assert character.evaluate({"vcpus": 2}).properties == {"vcpus": True}
    assert not grammar.parse("vcpus = 2?").evaluate({}).is_match


@pytest.mark.req("B-322")
def test_the_score_weighs_what_holds_by_its_priority():
    character = grammar.parse("vcpus = 2 [-20] or cpu_util > 90 [19] or memory > 1000 [0]")
    found = character.evaluate({"vcpus": 2, "cpu_util": 89, "memory": 1})
    assert found.score == 40 / (40 + 1 + 20)  # importance is 20 less the weight
    assert found.reaches(0.65)
    assert not found.reaches(0.66)
    none = character.evaluate({"vcpus": 1, "cpu_util": 89, "memory": 1})
    assert none.score == 0.0
    assert not none.is_match


@pytest.mark.req("B-320")
def test_units_are_brought_to_those_of_the_metric_services():
    assert grammar.parse("memory.usage > 2 GB").evaluate({"memory.usage": 2049}).is_match
    assert not grammar.parse("memory.usage > 2 GB").evaluate({"memory.usage": 2048}).is_match
    assert grammar.parse("memory in 1..2 GiB").evaluate({"memory": 1024}).is_match


@pytest.mark.req("B-323")
@pytest.mark.parametrize(
    "text",
    [
        CPU_BOUND,
        DISK_IO,
        BIG_DATA,
        tosca(A_B_C, "({a} or {b}) and {c}"),
        "n: " + " and ".join(f"resource.number.{n} in {n}..{n + 0.5} [7]?" for n in range(50)),
    ],
)
def test_a_character_travels_in_metadata_of_255_bytes_a_value(text):
    character = grammar.parse(text)
    metadata = grammar.to_metadata(character)
    assert all(len(value.encode()) <= 255 for value in metadata.values())
    assert next(iter(metadata)) == "watcher-workload-grammar"
    assert grammar.parse(grammar.text_in(metadata)) == character


@pytest.mark.req("B-323")
def test_the_key_of_the_examples_is_read_and_the_specified_one_goes_first():
    assert grammar.text_in({"workload_character": CPU_BOUND}) == CPU_BOUND
    both = {"workload_character": "a > 1", "watcher-workload-grammar": "b > 1"}
    assert grammar.text_in(both) == "b > 1"
    assert grammar.text_in({"other": "x"}) == ""
