"""Models, changes and metrics survive the wire and the file unchanged."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from trimtab.model.v1 import model_pb2
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
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import MetricsTable
from trimtab_common.wire.model_codec import change_of, delta_message
from trimtab_common.wire.saved_model import load_model, model_messages, model_of, save_model

FULL_HOST = HostRow(
    uuid="u1",
    hostname="h1",
    inventory=(8, 16, 32),
    reserved=(1, 2, 3),
    ratio=(16.0, 1.5, 1.1),
    up=False,
    enabled=False,
    disabled_reason="watcher_disabled",
    zone="az1",
    capacity_from_nova=True,
)
FULL_SERVER = ServerRow(
    uuid=str(uuid.UUID(int=5)),
    name="vm",
    hostname="h1",
    demand=(1, 2, 3),
    state=ServerState.UNKNOWN,
    state_text="levitating",
    locked=True,
    project_id="p",
    metadata={"k": "v"},
    pinned_zone="az1",
    extra_specs={"hw:cpu_policy": "dedicated"},
    created_at_s=1_780_000_000,
)
AGGREGATE = Aggregate(id=3, name="agg", zone="az1", hosts=frozenset({"h1"}), metadata={"a": "b"})
HEALTH = SetHealth(partial=True, stale_reason="nova is away", missing_hosts=("h9",))


def a_model(n_hosts, n_servers, seed=1):
    rng = random.Random(seed)
    hosts = [
        HostRow(
            uuid=str(uuid.UUID(int=rng.getrandbits(128))), hostname=f"h{i}", inventory=(9, 9, 9)
        )
        for i in range(n_hosts)
    ]
    servers = [
        ServerRow(
            uuid=str(uuid.UUID(int=rng.getrandbits(128))),
            name=f"vm{i}",
            hostname=rng.choice(["", "gone", *(row.hostname for row in hosts)]),
            demand=(rng.randrange(8), rng.randrange(4096), rng.randrange(40)),
            project_id=f"p{rng.randrange(5)}",
            metadata={"k": "v" * rng.randrange(200)},
        )
        for i in range(n_servers)
    ]
    model = ComputeModel.from_rows(hosts, servers, epoch="e", revision=7)
    model.apply([UpsertHost(FULL_HOST), UpsertServer(FULL_SERVER), SetAggregates((AGGREGATE,))])
    model.apply([HEALTH])
    model.move_to(revision=7, at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    return model


def test_a_snapshot_survives_the_wire():
    model = a_model(20, 9_000)
    messages = list(model_messages(model.snapshot(), digest=model.digest()))
    assert all(message.ByteSize() < 1_000_000 for message in messages)
    assert len(messages) > 4
    parsed = [model_pb2.GetModelResponse.FromString(m.SerializeToString()) for m in messages]
    copy = model_of(parsed)
    before, after = model.snapshot(), copy.snapshot()
    assert (after.epoch, after.revision, after.taken_at) == ("e", 7, before.taken_at)
    assert host_rows(after) == host_rows(before)
    assert server_rows(after) == server_rows(before)
    assert (copy.aggregates, copy.health) == (model.aggregates, model.health)
    assert copy.digest() == model.digest() == messages[-1].end.digest


def test_an_empty_model_survives_the_wire():
    assert model_of(model_messages(ComputeModel(epoch="e").snapshot())).n_hosts == 0


@pytest.mark.parametrize(
    "change",
    [
        UpsertHost(FULL_HOST),
        UpsertServer(FULL_SERVER),
        RemoveHost("h1"),
        RemoveServer(FULL_SERVER.uuid),
        SetAggregates((AGGREGATE,)),
        HEALTH,
    ],
)
def test_a_change_survives_the_wire(change):
    delta = delta_message(
        [change], position=model_pb2.Position(epoch="e", revision=1), at=Timestamp(), cause="poll"
    )
    (message,) = model_pb2.Delta.FromString(delta.SerializeToString()).changes
    assert change_of(message) == change


def test_a_change_of_a_later_release_is_refused():
    with pytest.raises(InvalidArgument):
        change_of(model_pb2.Change())


def metrics_for(snapshot):
    load = np.arange(snapshot.n_servers, dtype=float)
    load[0] = np.nan
    return MetricsTable(
        host={"host_cpu_usage": np.arange(snapshot.n_hosts, dtype=float)},
        server={"instance_cpu_usage": load},
        source="static",
    )


def test_a_saved_model_loads_with_its_metrics(tmp_path):
    snapshot = a_model(3, 40).snapshot()
    metrics = metrics_for(snapshot)
    save_model(tmp_path / "m", snapshot, metrics)
    loaded, table = load_model(tmp_path / "m")
    assert server_rows(loaded) == server_rows(snapshot)
    assert table.source == "static"
    assert np.array_equal(table.host["host_cpu_usage"], metrics.host["host_cpu_usage"])
    name = "instance_cpu_usage"
    assert np.array_equal(table.server[name], metrics.server[name], equal_nan=True)


@pytest.mark.parametrize("keep", [20, 100, -3])
def test_a_cut_file_is_refused(tmp_path, keep):
    save_model(tmp_path / "m", a_model(3, 40).snapshot(), None)
    data = (tmp_path / "m").read_bytes()
    (tmp_path / "m").write_bytes(data[:keep])
    with pytest.raises(InvalidArgument, match="cut short"):
        load_model(tmp_path / "m")


def test_another_file_is_refused(tmp_path):
    (tmp_path / "m").write_text("{}")
    with pytest.raises(InvalidArgument, match="is not a saved model"):
        load_model(tmp_path / "m")


def test_columns_that_do_not_fit_are_refused():
    messages = list(model_messages(a_model(3, 10).snapshot()))
    messages[2].compute.servers.name.append("one too many")
    with pytest.raises(InvalidArgument, match="do not fit"):
        model_of(messages)


@pytest.mark.req("C-019")
@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("project", 99, "a project that is not in the head"),
        ("project", -1, "a project that is not in the head"),
        ("host", 99, "a host that is not in the snapshot"),
        ("vcpus", -1, "must not be below zero"),
    ],
)
def test_a_server_that_cannot_be_is_refused(column, value, says):
    messages = list(model_messages(a_model(3, 10).snapshot()))
    getattr(messages[2].compute.servers, column)[4] = value
    with pytest.raises(InvalidArgument, match=says):
        model_of(messages)


def test_a_server_that_comes_twice_is_refused():
    messages = list(model_messages(a_model(3, 10).snapshot()))
    servers = messages[2].compute.servers
    servers.uuid = servers.uuid[:16] * 2 + servers.uuid[32:]
    with pytest.raises(InvalidArgument, match="comes twice"):
        model_of(messages)


@pytest.mark.req("C-027")
def test_a_state_of_a_later_release_is_unknown():
    messages = list(model_messages(a_model(3, 10).snapshot()))
    messages[2].compute.servers.state[4] = 99
    states = model_of(messages).snapshot().server_state.tolist()
    assert (states[4], len(states)) == (ServerState.UNKNOWN, 11)


def test_a_row_that_came_in_columns_has_every_field():
    copy = model_of(model_messages(a_model(3, 10).snapshot()))
    assert copy.find_server(FULL_SERVER.uuid) == FULL_SERVER
    assert not copy.apply([UpsertServer(FULL_SERVER)])
