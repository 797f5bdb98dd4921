"""The live model equals a plain dictionary of rows after any sequence of changes."""

from __future__ import annotations

import dataclasses
import random
import uuid
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_common.domain.changes import (
    HostRow,
    RemoveHost,
    RemoveServer,
    ServerRow,
    SetAggregates,
    SetHealth,
    UpsertHost,
    UpsertServer,
    host_rows,
    server_rows,
)
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.compute_terms import Aggregate, ServerState
from trimtab_common.domain.errors import InvalidArgument, NotFound
from trimtab_common.domain.snapshot import NO_HOST
from trimtab_common.wire.saved_model import model_messages, model_of

HOSTS = [f"compute-{i}" for i in range(5)]
UUIDS = [str(uuid.UUID(int=i * 7919)) for i in range(12)]

hosts = st.builds(
    HostRow,
    uuid=st.sampled_from(UUIDS),
    hostname=st.sampled_from(HOSTS),
    inventory=st.tuples(*[st.integers(0, 1000)] * 3),
    up=st.booleans(),
    zone=st.sampled_from(["", "az1", "az2"]),
)
servers = st.builds(
    ServerRow,
    uuid=st.sampled_from(UUIDS),
    name=st.sampled_from(["a", "b"]),
    hostname=st.sampled_from(["", *HOSTS]),
    demand=st.tuples(*[st.integers(0, 100)] * 3),
    state=st.sampled_from(ServerState),
    locked=st.booleans(),
    project_id=st.sampled_from(["p2", "p1", ""]),
    metadata=st.dictionaries(st.sampled_from("kl"), st.just("v")),
    created_at_s=st.integers(0, 2**31),
)
changes = st.one_of(
    hosts.map(UpsertHost),
    servers.map(UpsertServer),
    st.sampled_from(HOSTS).map(RemoveHost),
    st.sampled_from(UUIDS).map(RemoveServer),
)


class Plain:
    """The same model as two dictionaries."""

    def __init__(self):
        self.hosts, self.servers = {}, {}

    def apply(self, change):
        match change:
            case UpsertHost(row):
                self.hosts[row.hostname] = row
            case UpsertServer(row):
                self.servers[row.uuid] = row
            case RemoveHost(hostname):
                self.hosts.pop(hostname, None)
            case RemoveServer(key):
                self.servers.pop(key, None)

    def used(self, hostname):
        there = [row.demand for row in self.servers.values() if row.hostname == hostname]
        return tuple(sum(column) for column in zip((0, 0, 0), *there, strict=True))


def assert_equal(model, plain):
    snapshot = model.snapshot()
    assert host_rows(snapshot) == [plain.hosts[name] for name in sorted(plain.hosts)]
    assert server_rows(snapshot) == [plain.servers[key] for key in sorted(plain.servers)]
    for i, name in enumerate(snapshot.host_name):
        assert model.used_by_host(name) == plain.used(name) == tuple(snapshot.used()[i])
        there = {key for key, row in plain.servers.items() if row.hostname == name}
        assert model.servers_on(name) == there
    rebuilt = ComputeModel.from_rows(plain.hosts.values(), plain.servers.values())
    assert model.digest() == rebuilt.digest()


@pytest.mark.req("C-007", "C-021", "C-023", "C-030")
@settings(max_examples=150, deadline=None)
@given(st.lists(changes, max_size=60))
def test_any_sequence_of_changes_equals_the_plain_model(sequence):
    model, plain = ComputeModel(), Plain()
    for change in sequence:
        model.apply([change])
        plain.apply(change)
    assert_equal(model, plain)


@pytest.mark.req("C-007", "C-021")
@settings(max_examples=150, deadline=None)
@given(st.lists(changes, max_size=30), st.lists(changes, max_size=30), st.integers(0, 12))
def test_a_copy_that_came_in_columns_takes_any_changes_as_the_plain_model(before, after, hashed):
    model, plain = ComputeModel(epoch="e"), Plain()
    model.apply(before)
    copy = model_of(model_messages(model.snapshot()))
    copy.digest_some(hashed)  # some servers are in the digest before they change, some are not
    for change in [*before, *after]:
        plain.apply(change)
    for change in after:
        copy.apply([change])
    model.apply(after)
    assert {row.uuid: row for row in copy.servers()} == plain.servers
    assert_equal(copy, plain)
    assert copy.digest() == model.digest()


@settings(max_examples=100, deadline=None)
@given(st.lists(changes, max_size=30), st.lists(changes, max_size=30))
def test_the_difference_to_a_full_read_is_minimal_and_reaches_it(before, after):
    model, plain = ComputeModel(), Plain()
    model.apply(before)
    for change in after:
        plain.apply(change)
    difference = model.changes_to(list(plain.hosts.values()), list(plain.servers.values()))
    assert model.apply(difference) == len(difference)
    assert_equal(model, plain)
    assert model.changes_to(list(plain.hosts.values()), list(plain.servers.values())) == []


def a_host(name, **fields):
    return HostRow(
        uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        hostname=name,
        **({"inventory": (8, 1024, 100)} | fields),
    )


def a_server(number, hostname, **fields):
    key = str(uuid.UUID(int=number))
    return ServerRow(
        uuid=key, name=f"vm-{number}", hostname=hostname, **({"demand": (1, 64, 5)} | fields)
    )


@pytest.mark.req("C-029")
def test_capacity_is_total_less_reserved_times_ratio():
    row = a_host("a", inventory=(8, 100, 10), reserved=(2, 0, 0), ratio=(5.0, 1.0, 1.0))
    assert ComputeModel.from_rows([row], []).snapshot().capacity()[0, 0] == 30


@pytest.mark.req("C-023")
def test_a_removed_host_leaves_its_servers_unmapped_and_takes_them_back():
    model = ComputeModel.from_rows([a_host("a"), a_host("b")], [a_server(1, "a"), a_server(2, "b")])
    model.apply([RemoveHost("a")])
    snapshot = model.snapshot()
    assert snapshot.server_host.tolist() == [NO_HOST, 0]
    assert snapshot.server_missing_host == {0: "a"}
    model.apply([UpsertHost(a_host("a"))])
    assert model.snapshot().server_host.tolist() == [0, 1]
    assert model.used_by_host("a") == (1, 64, 5)


@pytest.mark.req("C-010")
def test_a_snapshot_never_changes_and_cannot_be_changed():
    model = ComputeModel.from_rows([a_host("a"), a_host("b")], [a_server(1, "a")])
    before = model.snapshot()
    assert model.snapshot() is before
    model.apply([UpsertServer(a_server(1, "b"))])
    assert before.server_host.tolist() == [0]
    assert model.snapshot().server_host.tolist() == [1]
    with pytest.raises(ValueError, match="read-only"):
        before.server_host[0] = 1


def test_an_equal_row_is_no_change_and_keeps_the_snapshot():
    model = ComputeModel.from_rows([a_host("a")], [a_server(1, "a")])
    before = model.snapshot()
    assert model.apply([UpsertServer(a_server(1, "a")), UpsertHost(a_host("a"))]) == 0
    assert model.snapshot() is before


def test_equal_clouds_read_in_another_order_give_equal_snapshots():
    rows = [
        a_server(i, f"h{i % 3}", project_id=f"p{i % 4}", metadata={"n": str(i)}) for i in range(50)
    ]
    hosts = [a_host(f"h{i}", zone=f"z{i % 2}") for i in range(3)]
    first = ComputeModel.from_rows(hosts, rows).snapshot()
    random.Random(1).shuffle(rows)
    second = ComputeModel.from_rows(reversed(hosts), rows).snapshot()
    for field in dataclasses.fields(first):
        if field.name != "taken_at":
            one, other = getattr(first, field.name), getattr(second, field.name)
            assert one == other if isinstance(one, Mapping) else np.array_equal(one, other)


def test_the_digest_sees_aggregates_and_not_health():
    model = ComputeModel.from_rows([a_host("a")], [])
    before = model.digest()
    model.apply([SetHealth(partial=True, missing_hosts=("x",))])
    assert model.digest() == before
    model.apply([SetAggregates((Aggregate(id=1, name="n", zone=None, hosts=frozenset({"a"})),))])
    assert model.digest() != before


@pytest.mark.req("C-018")
def test_unknown_keys_are_typed_errors():
    model = ComputeModel()
    with pytest.raises(NotFound, match="Compute node nope could not be found"):
        model.used_by_host("nope")
    assert model.find_server("nope") is None
    with pytest.raises(InvalidArgument, match="'nope' is not a uuid"):
        model.apply([UpsertServer(ServerRow(uuid="nope", name="", hostname="", demand=(1, 1, 1)))])
    assert model.n_servers == 0
