from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from decision_world import snapshot

from trimtab_common.domain.changes import ServerRow
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.elements import Upsert
from trimtab_common.domain.snapshot import MetricsTable
from trimtab_common.domain.storage import VolumeRow, storage_model
from trimtab_decision import parcel
from trimtab_decision.execution import Execution


def sent(messages):
    """The messages as a pipe gives them: plain bytes, one by one."""
    waiting = [bytes(message) for message in messages]
    return waiting, lambda: waiting.pop(0)


@pytest.mark.parametrize(
    "value",
    [
        None,
        (),
        "text",
        tuple(range(parcel.SLICE)),
        tuple(f"server-{n}" for n in range(parcel.SLICE * 3 + 1)),
        {},
        {n: {"key": str(n)} for n in range(parcel.SLICE * 2)},
        ("array", "not one"),
    ],
)
def test_a_value_arrives_as_it_was(value):
    waiting, receive = sent(parcel.pack(value))
    assert parcel.unpack(receive) == value
    assert waiting == []


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.arange(6).reshape(2, 3).T,
        np.zeros((0, 16), dtype=np.uint8),
        np.array([True, False]),
        np.array([1.5, np.nan]),
        np.arange(10)[::2],
    ],
)
def test_an_array_arrives_with_its_shape_and_type_and_cannot_be_changed(array):
    waiting, receive = sent(parcel.pack(array))
    arrived = parcel.unpack(receive)
    np.testing.assert_array_equal(arrived, array)
    assert (arrived.dtype, arrived.shape, arrived.flags.writeable) == (
        array.dtype,
        array.shape,
        False,
    )
    assert waiting == []


def test_a_question_arrives_with_model_and_metrics():
    model = snapshot()
    question = Execution(
        strategy="any",
        parameters={"a": [1]},
        compute=model,
        metrics=MetricsTable(host={"host_cpu_usage": np.array([1.0, np.nan])}, source="s"),
        scope=[{"compute": []}],
        seed=7,
    )
    waiting, receive = sent(parcel.pack_question(question))
    arrived = parcel.unpack_question(receive)
    assert waiting == []
    assert (arrived.strategy, arrived.parameters, arrived.scope, arrived.seed) == (
        "any",
        {"a": [1]},
        [{"compute": []}],
        7,
    )
    assert arrived.metrics.source == "s"
    np.testing.assert_array_equal(arrived.metrics.host["host_cpu_usage"], [1.0, np.nan])
    for field in dataclasses.fields(model):
        before, after = getattr(model, field.name), getattr(arrived.compute, field.name)
        if isinstance(before, Mapping):
            assert after == before
        np.testing.assert_array_equal(after, before, err_msg=field.name)


def test_a_question_without_a_model_arrives_without_one():
    _, receive = sent(parcel.pack_question(Execution(strategy="any", parameters={})))
    assert parcel.unpack_question(receive).compute is None


def test_no_message_holds_more_than_a_slice():
    names = tuple(f"server-{n}" for n in range(100_000))
    assert max(len(message) for message in parcel.pack(names)) < 20_000


def test_names_and_attributes_that_a_snapshot_shares_with_its_model_arrive_in_slices_too():
    rows = [
        ServerRow(
            uuid=f"00000000-0000-4000-8000-{n:012}",
            name=f"server-{n}",
            hostname="",
            demand=(1, 1, 1),
            metadata={"n": str(n)},
        )
        for n in range(4 * parcel.SLICE)
    ]
    shared = ComputeModel.from_rows([], rows).snapshot()
    for column, wanted in (
        (shared.server_name, tuple(row.name for row in rows)),
        (shared.server_metadata, {n: row.metadata for n, row in enumerate(rows)}),
    ):
        assert max(len(message) for message in parcel.pack(column)) < 20_000
        waiting, receive = sent(parcel.pack(column))
        assert parcel.unpack(receive) == wanted
        assert waiting == []


@pytest.mark.parametrize("length", [0, 3, parcel.SLICE, 2 * parcel.SLICE + 7])
def test_a_tuple_unpacked_later_is_the_same_whichever_part_is_asked_for(length):
    value = tuple(range(length))
    waiting, receive = sent(parcel.pack(value))
    later = parcel.unpack_later(receive)
    assert waiting == []
    assert len(later) == length
    assert tuple(later) == value
    for part in (slice(0, 250), slice(250, 750), slice(-3, None), slice(length, length + 9)):
        assert list(later[part]) == list(value[part])
    if length:
        assert (later[0], later[-1]) == (value[0], value[-1])


def test_a_storage_model_travels_too():
    model = storage_model()
    model.apply([Upsert(VolumeRow(uuid=f"v{i}", name="disk")) for i in range(1200)])
    question = Execution(strategy="zone_migration", parameters={}, storage=model.snapshot())
    messages = iter(list(parcel.pack_question(question)))
    back = parcel.unpack_question(lambda: bytes(next(messages)))
    assert back.storage == question.storage
    assert back.compute is None
