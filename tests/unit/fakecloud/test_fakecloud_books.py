"""Whatever is done to it, the cloud's books agree once nothing is under way."""

import asyncio
import contextlib
import random

import pytest

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.engine import Compute
from trimtab_fakecloud.compute.lifecycle import START, STOP, NewServer
from trimtab_fakecloud.compute.records import Caller
from trimtab_fakecloud.contents import fill
from trimtab_fakecloud.errors import CloudError
from trimtab_fakecloud.metrics.series import SeriesStore
from trimtab_fakecloud.migrations import MigrationStatus
from trimtab_fakecloud.settings import CloudSpec

OVER = {
    MigrationStatus.COMPLETED,
    MigrationStatus.FAILED,
    MigrationStatus.ERROR,
    MigrationStatus.CANCELLED,
    MigrationStatus.FINISHED,
    MigrationStatus.CONFIRMED,
    MigrationStatus.REVERTED,
}


class TurnsClock:
    """A second passes with each turn of the event loop; sleepers wake in their order."""

    def __init__(self):
        self._now = 1_800_000_000.0

    def time(self):
        return self._now

    async def sleep(self, seconds):
        for _ in range(max(1, round(seconds))):
            await asyncio.sleep(0)
        self._now += 1.0


def disturb(cloud, compute, caller, rng):
    """Does one thing at random."""
    server = rng.choice(list(cloud.servers.values()))
    host = rng.choice([None, *cloud.hosts])
    target = cloud.hosts[rng.choice(list(cloud.hosts))]
    flavor = rng.choice(list(cloud.flavors.values()))
    numbers = [m.number for m in cloud.migrations.of_server(server.id)] or [0]

    def toggle(what):
        setattr(target, what, rng.random() < 0.3)
        cloud.host_updated(target)

    def create():
        compute.lifecycle.create(NewServer("new", flavor, host=host), caller)

    act = rng.choice(
        [
            *[lambda: compute.live.start(server, caller, host=host)] * 6,
            lambda: compute.live.abort(server, numbers[-1], queued_too=True),
            lambda: compute.live.force_complete(server, numbers[-1]),
            lambda: compute.cold.migrate(server, caller, host=host),
            lambda: compute.cold.resize(server, caller, flavor),
            lambda: compute.cold.confirm(server, caller),
            lambda: compute.cold.revert(server, caller),
            lambda: compute.lifecycle.change(server, caller, STOP),
            lambda: compute.lifecycle.change(server, caller, START),
            lambda: compute.lifecycle.delete(server, caller),
            create,
            lambda: toggle("disabled"),
            lambda: toggle("forced_down"),
        ]
    )
    if not server.is_deleted:
        act()


@pytest.mark.parametrize("seed", range(12))
async def test_the_books_agree_after_any_disturbance(seed):
    spec = CloudSpec(
        hosts=4,
        servers=30,
        seed=seed,
        fail_ratio=0.2,
        migration_s=5,
        resize_s=4,
        power_s=2,
        max_concurrent_live_migrations=1 + seed % 2,
    )
    cloud = Cloud(spec, TurnsClock())
    fill(cloud)
    compute, store, rng = Compute(cloud), SeriesStore(cloud), random.Random(seed)
    caller = Caller(cloud.identity.login("admin", "secret"), "req-test")
    for _ in range(400):
        with contextlib.suppress(CloudError):
            disturb(cloud, compute, caller, rng)
        await asyncio.sleep(0)
    while under_way(cloud):  # noqa: ASYNC110, time passes by turns of the loop here
        await asyncio.sleep(0)
    await compute.close()
    check_books(cloud)
    check_load(cloud, store)


def under_way(cloud):
    busy = any(not s.is_deleted and s.task_state for s in cloud.servers.values())
    return busy or any(m.status not in OVER for m in cloud.migrations)


def check_books(cloud):
    held = dict.fromkeys(cloud.hosts, 0)
    for server in cloud.servers.values():
        place = cloud.allocations.of_consumer(server.id)
        if server.is_deleted or server.host is None:
            assert not place
            continue
        host = cloud.hosts[server.host]
        assert place == {host.uuid: server.flavor.resources}
        assert server in cloud.servers_on(host.name)
        held[host.name] += server.flavor.memory_mib
    for migration in cloud.migrations:
        waiting = migration.status is MigrationStatus.FINISHED
        alive = not cloud.servers[migration.server_id].is_deleted
        consumer = cloud.allocations.of_consumer(migration.uuid)
        assert bool(consumer) == (waiting and alive), migration
        if consumer:
            held[migration.source] += cloud.flavors[migration.old_flavor_id].memory_mib
    for name, host in cloud.hosts.items():
        assert cloud.allocations.used(host.uuid).get("MEMORY_MB", 0) == held[name]
        assert held[name] <= host.inventories["MEMORY_MB"].capacity


def check_load(cloud, store):
    running = {s.id: s.host for s in cloud.servers.values() if s.is_running and not s.is_deleted}
    seen = {
        series.labels["resource"]: series.labels["publisher"]
        for series in store.select("ceilometer_cpu", lambda _labels: True)
        if series.steps.end is None
    }
    assert seen == running
