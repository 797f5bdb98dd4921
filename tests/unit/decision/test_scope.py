"""The compute audit scope: what stays, what is only marked, what is warned about."""

import jsonschema
import pytest
from cluster_builders import cloud, host, server, uuid_of

from trimtab_common.domain.compute_terms import Aggregate
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.scope import (
    COMPUTE_SCOPE_SCHEMA,
    WildcardCharacterIsUsed,
    compute_rules,
    normalise,
    scoped,
)

AGGREGATES = [
    Aggregate(id=1, name="one", zone=None, hosts=frozenset({"a", "elsewhere"})),
    Aggregate(id=2, name="two", zone=None, hosts=frozenset({"b"})),
]
CLOUD = cloud(
    [
        host("a", zone="z1", cpu_pct=1),
        host("b", zone="z1", cpu_pct=2),
        host("c", zone="z2", cpu_pct=3),
    ],
    [
        server("sa", "a", project="AB-cd", cpu_pct=1),
        server("sb", "b", metadata={"k": "True", "other": "x"}, cpu_pct=2),
        server("sc", "c", metadata={"k": "no"}, cpu_pct=3),
        server("lost", None, cpu_pct=4),
    ],
    AGGREGATES,
)


def scope(*rules, **options):
    return scoped(CLOUD[0], [{"compute": list(rules)}], **options)


def hosts(*rules, **options):
    return list(scope(*rules, **options).snapshot.host_name)


def excluded(*rules, **options):
    snapshot = scope(*rules, **options).snapshot
    return {n for n, e in zip(snapshot.server_name, snapshot.server_excluded, strict=True) if e}


@pytest.mark.req("C-096")
@pytest.mark.parametrize("given", [[], [{"storage": [{"x": 1}]}], [{"compute": []}]])
def test_without_compute_rules_the_model_is_unchanged(given):
    assert scoped(CLOUD[0], given).snapshot is CLOUD[0]


@pytest.mark.req("C-096")
def test_only_the_first_non_empty_compute_item_counts():
    zone = {"availability_zones": [{"name": "z2"}]}
    node = {"exclude": [{"compute_nodes": [{"name": "c"}]}]}
    result = scoped(CLOUD[0], [{"compute": []}, {"compute": [zone]}, {"compute": [node]}])
    assert result.snapshot.host_name == ("c",)


@pytest.mark.req("C-095", "C-096", "C-097")
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([{"host_aggregates": [{"id": 1}, {"name": "two"}]}], ["a", "b"]),
        ([{"availability_zones": [{"name": "z2"}]}], ["c"]),
        ([{"availability_zones": [{"name": "z2"}]}, {"host_aggregates": [{"id": 1}]}], ["a", "c"]),
        ([{"availability_zones": [{"name": "z2"}], "host_aggregates": [{"id": 2}]}], ["b", "c"]),
        ([{"host_aggregates": [{"id": 9}]}], []),
        (
            [{"exclude": [{"compute_nodes": [{"name": "a"}], "host_aggregates": [{"id": 2}]}]}],
            ["c"],
        ),
        (
            [
                {"availability_zones": [{"name": "z1"}]},
                {"exclude": [{"compute_nodes": [{"name": "b"}]}]},
            ],
            ["a"],
        ),
    ],
)
def test_which_hosts_stay(rules, expected):
    assert hosts(*rules) == expected


@pytest.mark.req("C-094")
def test_a_wildcard_alone_selects_everything_of_its_type():
    assert hosts({"host_aggregates": [{"id": "*"}]}) == ["a", "b"]
    assert hosts({"availability_zones": [{"name": "*"}]}) == ["a", "b", "c"]


@pytest.mark.req("C-094")
@pytest.mark.parametrize(
    "rule",
    [
        {"host_aggregates": [{"id": "*"}, {"id": 1}]},
        {"availability_zones": [{"name": "*"}, {"name": "z1"}]},
        {"exclude": [{"host_aggregates": [{"name": "*"}, {"name": "one"}]}]},
    ],
)
def test_a_wildcard_beside_others_is_an_error(rule):
    with pytest.raises(WildcardCharacterIsUsed):
        scope(rule)


@pytest.mark.req("C-094")
def test_ids_and_names_are_judged_separately():
    assert hosts({"host_aggregates": [{"id": "*"}, {"name": "one"}]}) == ["a", "b"]


@pytest.mark.req("C-091")
def test_aggregates_on_both_sides_are_an_error():
    with pytest.raises(InvalidArgument, match="included and excluded together"):
        scope({"host_aggregates": [{"id": 1}]}, {"exclude": [{"host_aggregates": [{"id": 2}]}]})


@pytest.mark.req("C-099", "C-100")
def test_excluded_servers_stay_and_are_marked_in_this_snapshot_only():
    rule = {"exclude": [{"instances": [{"uuid": uuid_of("sa")}]}]}
    result = scope(rule).snapshot
    assert excluded(rule) == {"sa"}
    assert result.n_servers == 4
    assert not CLOUD[0].server_excluded.any()


@pytest.mark.req("C-102")
def test_projects_are_compared_without_dashes_and_case():
    assert excluded({"exclude": [{"projects": [{"uuid": "abCD"}]}]}) == {"sa"}


@pytest.mark.req("C-103", "C-104")
def test_metadata_excludes_only_when_all_listed_values_match():
    rule = {"exclude": [{"instance_metadata": [{"k": "true"}, {"other": "X"}]}]}
    assert excluded(rule, check_optimize_metadata=True) == {"sb"}
    missing = {"exclude": [{"instance_metadata": [{"k": "true", "absent": "x"}]}]}
    assert excluded(missing, check_optimize_metadata=True) == set()
    assert excluded(rule) == set()
    assert "ignored" in scope(rule).warnings[0]


@pytest.mark.req("C-098")
def test_what_does_not_exist_is_warned_about_and_the_rest_goes_on():
    result = scope(
        {
            "exclude": [
                {"compute_nodes": [{"name": "nowhere"}, {"name": "a"}]},
                {"instances": [{"uuid": uuid_of("nobody")}]},
            ]
        }
    )
    assert result.snapshot.host_name == ("b", "c")
    assert len(result.warnings) == 2


@pytest.mark.req("C-023")
def test_servers_of_removed_hosts_go_and_columns_stay_aligned():
    result = scope({"exclude": [{"compute_nodes": [{"name": "a"}]}]})
    snapshot, metrics = result.snapshot, result.align(CLOUD[1])
    assert set(snapshot.server_name) == {"sb", "sc", "lost"}
    for server_index, name in enumerate(snapshot.server_name):
        number = {"sb": 2.0, "sc": 3.0, "lost": 4.0}[name]
        assert metrics.server["instance_cpu_usage"][server_index] == number
    place = snapshot.server_name.index("sc")
    assert snapshot.host_name[snapshot.server_host[place]] == "c"
    assert snapshot.server_metadata[place] == {"k": "no"}
    assert snapshot.server_host[snapshot.server_name.index("lost")] == -1
    assert list(metrics.host["host_cpu_usage"]) == [2.0, 3.0]


@pytest.mark.req("C-089")
@pytest.mark.parametrize(
    "given",
    [
        [{"availability_zones": [{"name": "z2"}]}],
        {"compute": [{"availability_zones": [{"name": "z2"}]}]},
        [{"compute": [{"availability_zones": [{"name": "z2"}]}]}],
    ],
)
def test_legacy_forms_are_normalised(given):
    assert normalise(given) == [{"compute": [{"availability_zones": [{"name": "z2"}]}]}]
    assert scoped(CLOUD[0], given).snapshot.host_name == ("c",)


@pytest.mark.parametrize("given", ["text", 3, [1]])
def test_what_is_no_scope_is_refused(given):
    with pytest.raises(InvalidArgument):
        compute_rules(given)


@pytest.mark.req("C-086")
@pytest.mark.parametrize(
    ("rules", "valid"),
    [
        ([{"host_aggregates": [{"id": 1}, {"id": "*"}, {"name": "x"}]}], True),
        ([{"host_aggregates": [{"id": "x"}]}], False),
        ([{"surprise": []}], False),
        ([{"exclude": [{"surprise": []}]}], False),
        ([{"exclude": [{"instances": [{"uuid": "u", "more": 1}]}]}], False),
        ([{"exclude": [{"instance_metadata": [{"any": "thing"}]}]}], True),
    ],
)
def test_the_schema_is_closed_at_every_level(rules, valid):
    assert jsonschema.Draft4Validator(dict(COMPUTE_SCOPE_SCHEMA)).is_valid(rules) is valid
