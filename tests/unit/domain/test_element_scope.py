"""Audit scope on storage and baremetal: each rule, and 2,000 random clouds against a slow evaluator."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import jsonschema
import pytest

from trimtab_common.domain import baremetal, storage
from trimtab_common.domain.baremetal import BaremetalNodeRow
from trimtab_common.domain.element_scope import (
    BAREMETAL_SCOPE_SCHEMA,
    STORAGE_SCOPE_SCHEMA,
    scoped_baremetal,
    scoped_storage,
)
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.scope import WildcardCharacterIsUsed
from trimtab_common.domain.storage import PoolRow, StorageNodeRow, VolumeRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NODES = [
    StorageNodeRow(host="s@fast", zone="z1", volume_types=("gold", "silver")),
    StorageNodeRow(host="s@slow", zone="z2", volume_types=("bronze",)),
    StorageNodeRow(host="old", zone="z2"),
]
POOLS = [PoolRow(name=name) for name in ("s@fast#a", "s@fast#b", "s@slow#a", "gone@x#a")]
VOLUMES = [
    VolumeRow(uuid=f"v{number}", pool=pool, project_id=project)
    for number, (pool, project) in enumerate(
        [("s@fast#a", "aa-11"), ("s@fast#b", "bb"), ("s@slow#a", "AA11"), ("", "cc"),
         ("gone@x#a", "bb"), ("s@fast#lost", "cc")]
    )
]  # fmt: skip


def a_snapshot(nodes=NODES, pools=POOLS, volumes=VOLUMES):
    rows = {storage.NODE: tuple(nodes), storage.POOL: tuple(pools), storage.VOLUME: tuple(volumes)}
    return ElementSnapshot(epoch="e", revision=1, taken_at=NOW, rows=rows)


def kept(rules, snapshot=None):
    found = scoped_storage(snapshot or a_snapshot(), [{"storage": rules}])
    return (
        [row.host for row in found.snapshot.of(storage.NODE)],
        [row.name for row in found.snapshot.of(storage.POOL)],
        [row.uuid for row in found.snapshot.of(storage.VOLUME)],
    ), found.warnings


def slowly(rules, snapshot):
    """C-106 word by word."""
    include = any(key in rule for rule in rules for key in ("availability_zones", "volume_types"))
    removed = [
        row.host
        for row in snapshot.of(storage.NODE)
        if include and not any(_names(rule, row) for rule in rules)
    ]
    barred = [entry for rule in rules for entry in rule.get("exclude", [])]
    names = [item["name"] for entry in barred for item in entry.get("storage_pools", [])]
    uuids = [item["uuid"] for entry in barred for item in entry.get("volumes", [])]
    projects = [_plain(item["uuid"]) for entry in barred for item in entry.get("projects", [])]
    every_pool = [row.name for row in snapshot.of(storage.POOL)]
    pools = [name for name in every_pool if name.split("#")[0] not in removed and name not in names]
    volumes = [
        row.uuid
        for row in snapshot.of(storage.VOLUME)
        if row.pool.split("#")[0] not in removed
        and (row.pool in pools or row.pool not in every_pool)
        and row.uuid not in uuids
        and _plain(row.project_id) not in projects
    ]
    nodes = [row.host for row in snapshot.of(storage.NODE) if row.host not in removed]
    return nodes, pools, volumes


def _names(rule, node):
    for entry in rule.get("availability_zones", []):
        if entry["name"] in ("*", node.zone):
            return True
    for entry in rule.get("volume_types", []):
        if entry["name"] in node.volume_types or (entry["name"] == "*" and node.volume_types):
            return True
    return False


def _plain(text):
    return text.replace("-", "").lower()


RULES = {
    "zone": {"availability_zones": [{"name": "z1"}]},
    "all zones": {"availability_zones": [{"name": "*"}]},
    "no zone": {"availability_zones": [{"name": "z9"}]},
    "type": {"volume_types": [{"name": "silver"}]},
    "all types": {"volume_types": [{"name": "*"}]},
    "no type": {"volume_types": [{"name": "iron"}]},
    "zone and type": {"availability_zones": [{"name": "z1"}], "volume_types": [{"name": "bronze"}]},
    "pool": {"exclude": [{"storage_pools": [{"name": "s@fast#a"}]}]},
    "volume": {"exclude": [{"volumes": [{"uuid": "v1"}]}]},
    "project": {"exclude": [{"projects": [{"uuid": "aa11"}]}]},
    "unknown": {"exclude": [{"storage_pools": [{"name": "x"}], "volumes": [{"uuid": "y"}]}]},
}


@pytest.mark.req("C-106", "C-107", "C-108")
def test_each_storage_rule_alone_and_in_pairs():
    snapshot = a_snapshot()
    for first in RULES.values():
        assert kept([first])[0] == slowly([first], snapshot)
        for second in RULES.values():
            assert kept([first, second])[0] == slowly([first, second], snapshot)


@pytest.mark.req("C-106")
def test_a_zone_keeps_its_nodes_with_pools_and_volumes():
    found, _ = kept([RULES["zone"]])
    assert found == (
        ["s@fast"],
        ["s@fast#a", "s@fast#b", "gone@x#a"],
        ["v0", "v1", "v3", "v4", "v5"],  # those in no known node stay, as servers on no host do
    )


@pytest.mark.req("C-107")
def test_a_type_rule_works_and_one_that_matches_nothing_empties_the_model():
    assert kept([RULES["type"]])[0][0] == ["s@fast"]
    found, warnings = kept([RULES["no type"]])
    assert found[0] == []
    assert [line.partition(" ")[0] for line in warnings] == ["Volume", "The"]


@pytest.mark.req("C-108")
def test_what_is_excluded_and_unknown_is_warned_of():
    found, warnings = kept([RULES["unknown"]])
    assert found == kept([])[0]
    assert warnings == ("Pool x is not in the model.", "Volume y is not in the model.")


@pytest.mark.req("C-094")
@pytest.mark.parametrize("what", ["availability_zones", "volume_types"])
def test_a_wildcard_beside_other_names_is_an_error(what):
    with pytest.raises(WildcardCharacterIsUsed):
        kept([{what: [{"name": "*"}, {"name": "z1"}]}])


@pytest.mark.req("C-109")
def test_a_model_without_a_section_of_the_scope_is_unrestricted():
    scope = [{"compute": [{"availability_zones": [{"name": "none"}]}]}]
    snapshot = a_snapshot()
    assert scoped_storage(snapshot, scope).snapshot is snapshot
    assert scoped_baremetal(snapshot, scope).snapshot is snapshot


@pytest.mark.req("C-087", "C-108", "C-172")
def test_baremetal_removes_the_nodes_that_are_listed():
    rows = {baremetal.NODE: (BaremetalNodeRow(uuid="a"), BaremetalNodeRow(uuid="b"))}
    snapshot = ElementSnapshot(epoch="e", revision=1, taken_at=NOW, rows=rows)
    rules = [{"exclude": [{"ironic_nodes": [{"uuid": "a"}, {"uuid": "z"}]}]}]
    assert jsonschema.Draft4Validator(dict(BAREMETAL_SCOPE_SCHEMA)).is_valid(rules)
    found = scoped_baremetal(snapshot, [{"baremetal": rules}])
    assert [row.uuid for row in found.snapshot.of(baremetal.NODE)] == ["b"]
    assert found.warnings == ("Baremetal node z is not in the model.",)


@pytest.mark.req("C-086", "C-088")
@pytest.mark.parametrize(
    ("rules", "valid"),
    [
        ([RULES["zone and type"], RULES["pool"], RULES["volume"], RULES["project"]], True),
        ([{"exclude": [{"surprise": []}]}], False),
        ([{"exclude": [{"volumes": [{"uuid": "u", "more": 1}]}]}], False),
        ([{"surprise": []}], False),
        ([{"volume_types": [{}]}], False),
    ],
)
def test_the_storage_schema_is_closed_at_every_level(rules, valid):
    assert jsonschema.Draft4Validator(dict(STORAGE_SCOPE_SCHEMA)).is_valid(rules) is valid


@pytest.mark.req("C-106")
def test_two_thousand_random_clouds_are_cut_as_the_slow_evaluator_cuts_them():
    emptied = cut = 0
    for seed in range(2000):
        rng = random.Random(seed)
        nodes = [
            StorageNodeRow(
                host=f"s@{n}", zone=rng.choice(["z1", "z2"]),
                volume_types=tuple(rng.sample(["gold", "silver", "iron"], rng.randrange(3))),
            )
            for n in range(rng.randrange(1, 5))
        ]  # fmt: skip
        names = [f"s@{n}#{m}" for n in range(5) for m in range(2)]
        pools = [PoolRow(name=name) for name in sorted(rng.sample(names, rng.randrange(8)))]
        volumes = [
            VolumeRow(
                uuid=f"v{n}", pool=rng.choice([*names, ""]), project_id=rng.choice(["a", "b"])
            )
            for n in range(rng.randrange(10))
        ]
        snapshot = a_snapshot(nodes, pools, volumes)
        rules = []
        for _ in range(rng.randrange(1, 3)):
            rule = {}
            if rng.random() < 0.5:
                rule["availability_zones"] = [{"name": rng.choice(["z1", "z2", "z3", "*"])}]
            if rng.random() < 0.5:
                rule["volume_types"] = [{"name": rng.choice(["gold", "iron", "none", "*"])}]
            if rng.random() < 0.5:
                rule["exclude"] = [
                    {
                        "storage_pools": [{"name": rng.choice(names)}],
                        "volumes": [{"uuid": f"v{rng.randrange(12)}"}],
                        "projects": [{"uuid": rng.choice(["A", "c"])}],
                    }
                ]
            rules.append(rule)
        found, _ = kept(rules, snapshot)
        assert found == slowly(rules, snapshot), seed
        emptied += not found[0]
        cut += found[2] != [row.uuid for row in volumes]
    assert emptied > 80
    assert cut > 400


@pytest.mark.req("C-096", "C-108")
def test_two_thousand_random_sets_of_machines_are_cut_as_a_plain_search_cuts_them():
    cut = warned = 0
    for seed in range(2000):
        rng = random.Random(seed)
        names = rng.sample("abcdefgh", rng.randrange(6))
        rows = {baremetal.NODE: tuple(BaremetalNodeRow(uuid=name) for name in sorted(names))}
        snapshot = ElementSnapshot(epoch="e", revision=1, taken_at=NOW, rows=rows)
        entries = [
            {
                "ironic_nodes": [
                    {"uuid": name} for name in rng.sample("abcdefghxy", rng.randrange(4))
                ]
            }
            for _ in range(rng.randrange(3))
        ]
        items = [{"baremetal": [{"exclude": [entry]} for entry in entries]}]
        if rng.random() < 0.3:  # only the first item that has rules counts
            items = [
                {"compute": []},
                *items,
                {"baremetal": [{"exclude": [{"ironic_nodes": [{"uuid": "a"}]}]}]},
            ]
        barred = [item["uuid"] for entry in entries for item in entry["ironic_nodes"]]
        if not entries and len(items) > 1:
            barred = ["a"]
        found = scoped_baremetal(snapshot, items)
        kept = [row.uuid for row in found.snapshot.of(baremetal.NODE)]
        assert kept == sorted(name for name in names if name not in barred), seed
        unknown = sorted({name for name in barred if name not in names})
        assert found.warnings == tuple(
            f"Baremetal node {name} is not in the model." for name in unknown
        )
        cut += len(kept) < len(names)
        warned += bool(unknown)
    assert cut > 400
    assert warned > 400
