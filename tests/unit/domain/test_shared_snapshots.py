"""Snapshots share rows with the model, and with each other, and show nothing of what comes later."""

from __future__ import annotations

import dataclasses
import gc
import pickle
import random
import sys
from collections.abc import Mapping

import numpy as np
import pytest

from trimtab_common.domain.changes import (
    HostRow,
    RemoveHost,
    RemoveServer,
    ServerRow,
    UpsertHost,
    UpsertServer,
    host_rows,
    server_rows,
)
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.pieces import REST, SHIFT, SIZE, Pieces
from trimtab_common.domain.scope import scoped
from trimtab_common.domain.server_texts import within
from trimtab_common.wire.saved_model import model_messages, model_of

SPARSE = (
    "server_metadata", "server_state_text", "server_pinned_zone", "server_extra_specs",
    "server_scheduler_hints",
)  # fmt: skip
SERVERS = 3 * SIZE + 7


def key(number):
    return f"00000000-0000-4000-8000-{number * 7919 % 10_007:012}"


def a_host(name, **given):
    return HostRow(uuid=f"u-{name}", hostname=name, inventory=(64, 64, 64), **given)


def a_server(number, rng):
    """Has each of the sparse attributes with some chance."""
    mark = str(rng.randrange(1000))
    some = rng.random
    unknown = some() < 0.2
    return ServerRow(
        uuid=key(number),
        name=f"n{mark}",
        hostname=rng.choice(["a", "b", "gone", ""]),
        demand=(rng.randrange(9), 1, 1),
        state=ServerState.UNKNOWN if unknown else ServerState.ACTIVE,
        state_text=f"s{mark}" if unknown else "",
        project_id=rng.choice("pq"),
        metadata={"m": mark} if some() < 0.5 else {},
        pinned_zone=f"z{mark}" if some() < 0.2 else "",
        extra_specs={"e": mark} if some() < 0.2 else {},
        scheduler_hints={"h": mark} if some() < 0.2 else {},
    )


def a_model(rng, *, as_columns=False):
    model = ComputeModel.from_rows(
        [a_host("a"), a_host("b")], [a_server(n, rng) for n in range(SERVERS)], epoch="e"
    )
    return model_of(model_messages(model.snapshot())) if as_columns else model


def a_change(rng):
    kind, number = rng.random(), rng.randrange(SERVERS + 40)
    if kind < 0.6:
        return UpsertServer(a_server(number, rng))
    if kind < 0.9:
        return RemoveServer(key(number))
    if kind < 0.95:
        return RemoveHost("b")
    return UpsertHost(a_host("b", up=rng.random() < 0.5, zone=rng.choice(["", "z"])))


def plain(snapshot):
    """All that it says, in values that share nothing with anybody."""
    found = {}
    for field in dataclasses.fields(snapshot):
        value = getattr(snapshot, field.name)
        if isinstance(value, np.ndarray):
            value = value.tolist()
        elif isinstance(value, Mapping):
            value = {index: value[index] for index in value}
        elif field.name == "server_name":
            value = [value[index] for index in range(snapshot.n_servers)]
        found[field.name] = value
    return found


@pytest.mark.req("C-011")
@pytest.mark.parametrize("as_columns", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_snapshot_says_the_same_whatever_becomes_of_the_model(seed, as_columns):
    rng = random.Random(seed)
    model = a_model(rng, as_columns=as_columns)
    held = []
    for _ in range(30):
        snapshot = model.snapshot()
        held.append((snapshot, plain(snapshot)))
        model.apply([a_change(rng) for _ in range(rng.choice([0, 1, 5, 60]))])
        if rng.random() < 0.1:
            list(
                model.servers()
            )  # columns that came become rows, also those that a snapshot shares
    for snapshot, said in held:
        assert plain(snapshot) == said


@pytest.mark.parametrize("as_columns", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_snapshot_equals_that_of_a_new_model_of_the_same_rows(seed, as_columns):
    rng = random.Random(seed)
    model = a_model(rng, as_columns=as_columns)
    for _ in range(15):
        snapshot = model.snapshot()
        rows = [*model.servers()]
        anew = ComputeModel.from_rows(model.hosts(), rows, epoch="e", revision=model.revision)
        anew.move_to(revision=model.revision, at=model.taken_at)
        assert plain(snapshot) == plain(anew.snapshot())
        assert model.digest() == anew.digest()
        assert server_rows(snapshot) == sorted(rows, key=lambda row: row.uuid)
        assert host_rows(snapshot) == sorted(model.hosts(), key=lambda row: row.hostname)
        model.apply([a_change(rng) for _ in range(rng.choice([1, 5, 60]))])


@pytest.mark.parametrize("as_columns", [False, True])
def test_shared_columns_read_like_a_tuple_and_dictionaries(as_columns):
    snapshot = a_model(random.Random(5), as_columns=as_columns).snapshot()
    rows = server_rows(snapshot)
    names = tuple(row.name for row in rows)
    assert snapshot.server_name == names
    assert snapshot.server_name != (*names[:-1], "another")
    assert snapshot.server_name != names[:-1]
    assert tuple(snapshot.server_name) == names
    assert (*reversed(snapshot.server_name),) == names[::-1]
    assert snapshot.server_name[5:9] == names[5:9]
    assert snapshot.server_name[-1] == snapshot.server_name[np.intp(SERVERS - 1)] == names[-1]
    assert snapshot.server_name.index(names[40]) == names.index(names[40])
    with pytest.raises(IndexError):
        snapshot.server_name[SERVERS]
    for column in SPARSE:
        attribute = column.removeprefix("server_")
        wanted = {i: v for i, row in enumerate(rows) if (v := getattr(row, attribute))}
        found = getattr(snapshot, column)
        assert len(found) == len(wanted) > 20
        assert found == wanted
        assert list(found.items()) == list(wanted.items())
        assert list(found) == list(wanted)
        assert [found.get(i, "none") for i in range(-2, SERVERS + 2)] == [
            wanted.get(i, "none") for i in range(-2, SERVERS + 2)
        ]
        assert "0" not in found
        first = next(i for i in range(SERVERS) if i not in wanted)
        for absent in (first, -1, SERVERS):
            with pytest.raises(KeyError):
                found[absent]
        part = range(100, 300)
        assert list(within(found, part)) == [*within(wanted, part)]
        assert list(within(found, part)) == [(i, wanted[i]) for i in part if i in wanted]


@pytest.mark.parametrize("as_columns", [False, True])
def test_a_scope_cuts_shared_columns_as_it_cuts_a_tuple_and_dictionaries(as_columns):
    shared = a_model(random.Random(5), as_columns=as_columns).snapshot()
    unshared = dataclasses.replace(
        shared,
        server_name=tuple(shared.server_name),
        **{column: dict(getattr(shared, column)) for column in SPARSE},
    )
    scope = [{"compute": [{"exclude": [{"compute_nodes": [{"name": "a"}]}]}]}]
    found, wanted = scoped(shared, scope).snapshot, scoped(unshared, scope).snapshot
    assert 0 < found.n_servers < shared.n_servers
    assert plain(found) == plain(wanted)
    for column in SPARSE:
        assert len(getattr(found, column)) == len(getattr(wanted, column))


def test_what_is_empty_is_left_out_of_a_part():
    assert list(within({0: {}, 1: {"k": "v"}, 5: {"k": "w"}}, range(3))) == [(1, {"k": "v"})]


def test_shared_columns_are_pickled_as_what_they_stand_for():
    snapshot = a_model(random.Random(5)).snapshot()
    for column in ("server_name", *SPARSE):
        arrived = pickle.loads(pickle.dumps(getattr(snapshot, column)))
        assert type(arrived) is (tuple if column == "server_name" else dict)
        assert arrived == getattr(snapshot, column)


def test_a_snapshot_after_a_change_makes_no_object_a_server():
    rng = random.Random(1)
    servers = [a_server(n, rng) for n in range(5000)]
    model = ComputeModel.from_rows([a_host(f"h{n}") for n in range(500)], servers)
    model.snapshot()
    for before in servers[:2]:
        model.apply([UpsertServer(dataclasses.replace(before, name="changed"))])
        gc.collect()
        gc.disable()
        try:
            blocks = sys.getallocatedblocks()
            held = model.snapshot()
            made = sys.getallocatedblocks() - blocks
        finally:
            gc.enable()
        assert held.server_name[sorted(row.uuid for row in servers).index(before.uuid)] == "changed"
        assert made - len(held.server_missing_host) < 400


def test_hosts_are_made_again_only_when_one_changed():
    model = a_model(random.Random(1))
    before = model.snapshot()
    model.apply([RemoveServer(key(1))])
    assert model.snapshot().host_name is before.host_name
    model.apply([UpsertHost(a_host("b", zone="new"))])
    after = model.snapshot()
    assert (before.zones, after.zones) == ((), ("new",))
    assert after.host_zone.tolist() == [-1, 0]
    model.apply([RemoveHost("a")])
    assert model.snapshot().host_name == ("b",)


@pytest.mark.parametrize("seed", range(10))
def test_pieces_are_a_list_that_stays_as_it_was_for_whom_it_was_lent(seed):
    rng = random.Random(seed)
    wanted = list(range(rng.choice([0, 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE])))
    pieces, lent = Pieces(wanted), []
    for number in range(800):
        kind = rng.random()
        if kind < 0.02:
            lent.append((pieces.lend(), wanted.copy()))
        elif kind < 0.4:
            wanted.append(number)
            pieces.append(number)
        elif kind < 0.75 and wanted:
            assert pieces.pop() == wanted.pop()
        elif wanted:
            at = rng.randrange(len(wanted))
            wanted[at] = pieces[at] = -number
    assert list(pieces) == wanted
    assert [pieces[at] for at in range(len(pieces))] == wanted
    for parts, said in lent:
        assert [parts[at >> SHIFT][at & REST] for at in range(len(said))] == said
        assert sum(map(len, parts)) == len(said)


def test_a_change_after_lending_copies_one_piece():
    pieces = Pieces(range(10 * SIZE))
    before = pieces.lend()
    pieces[3 * SIZE + 1] = -1
    pieces[3 * SIZE + 2] = -2
    after = pieces.lend()
    assert [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a is not b] == [3]
    with pytest.raises(IndexError):
        Pieces().pop()
