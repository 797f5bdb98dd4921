"""Elements refuse what cannot be, have defaults for the rest, and leave out what is not set (C-019)."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from trimtab.model.v1 import model_pb2
from trimtab_common.domain.baremetal import BaremetalNodeRow, PowerState
from trimtab_common.domain.changes import HostRow, ServerRow, UpsertHost, UpsertServer
from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.storage import PoolRow, StorageNodeRow, VolumeRow
from trimtab_common.wire.model_codec import change_of, delta_message

KEY = "00000000-0000-4000-8000-000000000001"
HOST = {"uuid": "u", "hostname": "h", "inventory": (8, 1024, 10)}
SERVER = {"uuid": KEY, "name": "vm", "hostname": "h", "demand": (1, 64, 5)}


@pytest.mark.req("C-019")
@pytest.mark.parametrize(
    ("make", "wrong", "words"),
    [
        (HostRow, HOST | {"hostname": ""}, "needs a hostname and a uuid"),
        (HostRow, HOST | {"uuid": ""}, "needs a hostname and a uuid"),
        (HostRow, HOST | {"inventory": (8, -1, 10)}, "must not be below zero"),
        (HostRow, HOST | {"reserved": (-1, 0, 0)}, "must not be below zero"),
        (HostRow, HOST | {"ratio": (1.0, -0.5, 1.0)}, "must not be below zero"),
        (HostRow, HOST | {"ratio": (float("nan"), 1.0, 1.0)}, "must not be below zero"),
        (HostRow, HOST | {"ratio": (float("inf"),) * 3}, "must not be below zero"),
        (ServerRow, SERVER | {"uuid": ""}, "needs a uuid"),
        (ServerRow, SERVER | {"demand": (1, 64, -5)}, "must not be below zero"),
        (ServerRow, SERVER | {"created_at_s": -1}, "must not be below zero"),
        (StorageNodeRow, {"host": ""}, "storage_node needs a key"),
        (PoolRow, {"name": ""}, "pool needs a key"),
        (PoolRow, {"name": "p", "volumes": -1}, "volumes is -1"),
        (VolumeRow, {"uuid": ""}, "volume needs a key"),
        (VolumeRow, {"uuid": "v", "size_gb": -1}, "size_gb is -1"),
        (BaremetalNodeRow, {"uuid": ""}, "baremetal_node needs a key"),
    ],
)
def test_what_cannot_be_is_refused_and_named(make, wrong, words):
    with pytest.raises(InvalidArgument, match=words):
        make(**wrong)


@pytest.mark.req("C-019")
@pytest.mark.parametrize("make", [HostRow, ServerRow, StorageNodeRow, PoolRow, VolumeRow])
def test_a_required_field_that_is_left_out_is_an_error_at_once(make):
    with pytest.raises(TypeError, match="missing"):
        make()


@pytest.mark.req("C-019")
def test_what_is_not_said_has_a_default():
    host, server = HostRow(**HOST), ServerRow(**SERVER)
    assert (host.reserved, host.ratio, host.up, host.enabled) == ((0,) * 3, (1.0,) * 3, True, True)
    assert (server.state, server.locked, dict(server.metadata)) == (ServerState.ACTIVE, False, {})
    assert PoolRow(name="p").virtual_free_gb == 0.0
    assert BaremetalNodeRow(uuid="m").power_state is PowerState.UNKNOWN


@pytest.mark.req("C-019")
def test_what_is_not_set_is_left_out_of_the_document_and_comes_back_as_not_set():
    rows = [UpsertHost(HostRow(**HOST)), UpsertServer(ServerRow(**SERVER))]
    position = model_pb2.Position(epoch="e", revision=1)
    delta = delta_message(rows, position=position, at=Timestamp(), cause="test", event_id="")
    for change in delta.changes:
        named = {
            field.name for field, _ in getattr(change, change.WhichOneof("change")).ListFields()
        }
        unset = {"disabled_reason", "zone", "metadata", "pinned_zone", "extra_specs", "locked"}
        assert not named & unset, named
    assert [change_of(change) for change in delta.changes] == rows
