"""Values find their servers whatever order they come in, and strangers find none."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from trimtab.model.v1 import metrics_pb2
from trimtab_common.domain.changes import ServerRow
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.wire import metrics_codec

METRIC = "instance_cpu_usage"
HALF = 2**64


def snapshot_of(uuids):
    rows = [ServerRow(uuid=str(one), name="s", hostname="", demand=(1, 1, 1)) for one in uuids]
    return ComputeModel.from_rows([], rows, epoch="e").snapshot()


def values_of(snapshot, names):
    message = metrics_pb2.QueryMetricsResponse(
        metric=METRIC, resource=names, value=[float(i) for i in range(len(names))]
    )
    column = metrics_codec.table(snapshot, [message]).server[METRIC]
    return {snapshot.uuid_of(i): v for i, v in enumerate(column.tolist()) if not np.isnan(v)}


def random_uuids(seed, count):
    rng = np.random.default_rng(seed)
    return [uuid.UUID(bytes=rng.bytes(16)) for _ in range(count)]


def little(half):
    return int(half).to_bytes(8, "little")


def with_one_key():
    """Two uuids that the search by number cannot tell apart: first half * odd ^ second half."""
    odd = int(metrics_codec._ODD)
    halves = ((1, 7), (2, 7 ^ odd ^ (2 * odd % HALF)))
    return [uuid.UUID(bytes=little(first) + little(second)) for first, second in halves]


@pytest.mark.parametrize("stranger", [[], [str(uuid.UUID(int=5))], ["vm-1"], ["x" * 36]])
def test_values_come_to_their_servers_in_any_order(stranger):
    known = [str(one) for one in random_uuids(1, 200)]
    names = [*known[::-1][:150], *stranger]
    found = values_of(snapshot_of(known), names)
    assert found == {name: float(i) for i, name in enumerate(names) if name in known}


def test_uuids_that_share_a_key_keep_their_own_values():
    pair = with_one_key()
    keys = metrics_codec._keys(
        np.frombuffer(b"".join(u.bytes for u in pair), np.uint8).reshape(2, 16)
    )
    assert keys[0] == keys[1]
    names = [str(one) for one in [*pair, *random_uuids(2, 20)]]
    assert values_of(snapshot_of(names), names) == {name: float(i) for i, name in enumerate(names)}


def test_a_stranger_that_shares_a_key_has_no_value():
    known, stranger = with_one_key()
    found = values_of(snapshot_of([known]), [str(stranger), str(known)])
    assert found == {str(known): 1.0}


def test_uuids_that_differ_in_one_half_only_keep_their_own_values():
    names = [str(uuid.UUID(int=i)) for i in range(50)]
    names += [str(uuid.UUID(int=i * HALF)) for i in range(1, 50)]
    assert values_of(snapshot_of(names), names) == {name: float(i) for i, name in enumerate(names)}


def test_a_cloud_without_servers_has_no_values():
    assert values_of(snapshot_of([]), [str(uuid.UUID(int=5))]) == {}
