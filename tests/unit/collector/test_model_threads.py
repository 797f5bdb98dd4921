"""Many threads read snapshots while the loop goes on changing the model (C-011).

One owner changes a model, on its event loop; what others get is a snapshot of one piece that shares
nothing that is written to. `publish` may be called again by who was woken by it.
"""

from __future__ import annotations

import asyncio
import random
import threading
from datetime import UTC, datetime

import numpy as np
import pytest

from trimtab_collector.live_model import Delta, LiveModel
from trimtab_common.domain.changes import (
    HostRow,
    RemoveHost,
    RemoveServer,
    ServerRow,
    UpsertHost,
    UpsertServer,
)
from trimtab_common.domain.snapshot import NO_HOST
from trimtab_common.runtime.clock import FakeClock

HOSTS, READERS, STEPS = 12, 4, 2500


def key(number):
    return f"00000000-0000-4000-8000-{number:012}"


def a_change(rng):
    """Adds, moves, resizes and removes; what a server needs tells of its name."""
    number, host = rng.randrange(400), f"h{rng.randrange(HOSTS)}"
    kind = rng.random()
    if kind < 0.75:
        demand = (number % 7 + 1, number % 5 + 1, number)
        return UpsertServer(
            ServerRow(uuid=key(number), name=str(number), hostname=host, demand=demand)
        )
    if kind < 0.9:
        return RemoveServer(key(number))
    if kind < 0.95:
        return RemoveHost(host)
    return UpsertHost(HostRow(uuid=f"u-{host}", hostname=host, inventory=(64, 64, 64)))


def assert_whole(snapshot):
    """Every column is of the same moment."""
    names = [int(name) for name in snapshot.server_name]
    assert [snapshot.uuid_of(i) for i in range(snapshot.n_servers)] == list(map(key, names))
    numbers = np.array(names, dtype=np.int64).reshape(-1)
    wanted = np.stack([numbers % 7 + 1, numbers % 5 + 1, numbers], axis=1)
    np.testing.assert_array_equal(snapshot.server_demand, wanted.reshape(-1, 3))
    used = np.zeros((snapshot.n_hosts, 3), np.int64)
    on_host = snapshot.server_host != NO_HOST
    np.add.at(used, snapshot.server_host[on_host], snapshot.server_demand[on_host])
    np.testing.assert_array_equal(snapshot.used(), used)


@pytest.mark.req("C-011")
@pytest.mark.timeout(120)
async def test_readers_in_threads_see_whole_moments_while_the_model_changes():
    live = LiveModel(FakeClock(datetime(2026, 1, 1, tzinfo=UTC)))
    live.mark_built()
    latest, stop, problems, checked = [live.snapshot()], threading.Event(), [], [0] * READERS

    def read(which):
        rng = random.Random(which)
        held = []
        try:
            while not stop.is_set() or checked[which] < 20:
                held = [*held[-3:], latest[0]]
                assert_whole(rng.choice(held))  # old ones too stay as they were
                checked[which] += 1
        except AssertionError as error:
            problems.append(error)

    readers = [asyncio.create_task(asyncio.to_thread(read, which)) for which in range(READERS)]
    rng = random.Random(7)
    for step in range(STEPS):
        live.publish([Delta(changes=[a_change(rng) for _ in range(3)], cause="test")])
        latest[0] = live.snapshot()
        if step % 10 == 0:
            await asyncio.sleep(0)
        if problems:
            break
    stop.set()
    await asyncio.gather(*readers)
    assert problems == []
    assert live.model.revision > STEPS // 2


@pytest.mark.req("C-011")
async def test_who_was_woken_may_read_and_publish_at_once():
    live = LiveModel(FakeClock(datetime(2026, 1, 1, tzinfo=UTC)))
    live.mark_built()
    seen = []

    async def watcher(number):
        with live.waiting() as woken:
            await woken.wait()
            host = HostRow(uuid=f"w{number}", hostname=f"w{number}", inventory=(1, 1, 1))
            live.publish([Delta(changes=[UpsertHost(host)], cause="test")])
            seen.append((live.model.revision, live.snapshot().revision, live.snapshot().n_hosts))

    tasks = [asyncio.create_task(watcher(number)) for number in range(5)]
    await asyncio.sleep(0)
    first = HostRow(uuid="u", hostname="h", inventory=(1, 1, 1))
    live.publish([Delta(changes=[UpsertHost(first)], cause="test")])
    await asyncio.gather(*tasks)
    assert [hosts for _, _, hosts in seen] == [2, 3, 4, 5, 6]
    assert all(revision == taken for revision, taken, _ in seen)
