"""After whatever was done to the cloud, the live models equal a fresh full read of it.

TRIMTAB_CLOUD_OPERATIONS sets how many operations the long test does.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import pytest
from fresh_read import Comparison
from private_broker import PrivateBroker, server_program
from random_operations import RandomOperations
from subscriber import quantiles, subscribed

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import running

COUNT = int(os.environ.get("TRIMTAB_CLOUD_OPERATIONS", "300"))
EQUAL_WITHIN_S = 10.0
POLLED_WITHIN_S = 150.0
"""Of the death of a host no notification tells: Nova finds out after 60 s, a poll 30 s later (C-061);
Cinder's pools say what is in them every 15 s, and are read every minute."""
BACK_WITHIN_S = 20.0
"""So long after the broker is up again an act may still have waited for it."""


def tell(note, operations):
    tally = operations.tally
    note("done", f"{tally.done.total()} of {len(tally.done)} kinds: {dict(tally.done)}")
    note("refused", dict(tally.refused))
    note("failed", dict(tally.failed))
    for words in operations.problems[:10]:
        note("a problem of the cloud", words)


def models(system, cloud):
    """A comparison for each model."""
    return {
        kind: Comparison(system, lambda: cloud.connection.auth_token, kind)
        for kind in ("compute", "storage")
    }


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("count", [30, pytest.param(150, marks=pytest.mark.slow)])
def test_after_random_operations_the_models_equal_a_fresh_read(cloud, storage, system, note, count):
    cloud.enable_all()
    operations = RandomOperations(cloud, storage, seed=count)
    try:
        operations.run(count, limit_s=6.0 * count)
        operations.settle()
        note("reset by hand", operations.rescued)
        for kind, limit_s in (("compute", EQUAL_WITHIN_S), ("storage", POLLED_WITHIN_S)):
            waited = models(system, cloud)[kind].await_equal(limit_s)
            note(f"{kind} equal after s", round(waited, 1))
        operations.servers.confirm_all()
        cloud.await_agreement()
    finally:
        operations.clean()
    tell(note, operations)


@pytest.fixture
def broker(tmp_path):
    program = server_program()
    assert program, "no rabbitmq-server: the cloud's up installs it"
    private = PrivateBroker(tmp_path / "broker", program)
    private.start()
    yield private
    private.kill()


@pytest.fixture
def made_good(cloud):
    """Undoes operations when the cloud is back on its own broker: on one that died Nova does not
    always come back, and then deletes nothing.
    """
    to_clean: list[RandomOperations] = []
    yield to_clean
    cloud.enable_all()
    for operations in to_clean:
        operations.be_patient()
        operations.clean()
    cloud.forget_orphans()


@pytest.fixture
def cloud_on_it(cloud, broker, processes, made_good):
    """All of Nova and Cinder on the private broker: calls as well as notifications."""
    del made_good
    began = now()
    with processes.cloud_with({"OS_DEFAULT__TRANSPORT_URL": broker.url}):
        cloud.await_computes(began)
        yield
        began = now()
    cloud.await_computes(began)


def now():
    """As Nova writes times."""
    return datetime.now(UTC).replace(tzinfo=None)


@pytest.fixture
def system_on_it(cloud_on_it, broker, tmp_path):
    del cloud_on_it
    spec = SystemSpec(
        state_dir=tmp_path / "system",
        ports=ports.free_row(),
        cloud="watcher",
        rabbit_url=broker.url,
        ready_timeout_s=180,
    )
    with running(spec, say=lambda _line: None) as started:
        yield started


@pytest.mark.slow
@pytest.mark.req("C-008", "C-061", "C-117")
@pytest.mark.timeout(1200 + 6 * COUNT)
def test_with_computes_brokers_and_collector_killed_the_models_equal_a_fresh_read(
    cloud, storage, broker, system_on_it, made_good, processes, note
):
    """A RabbitMQ node of the test's own carries the calls and notifications of Nova and Cinder,
    which are restarted onto it, and back at the end. After a quarter and three quarters of the
    operations it gets SIGKILL and is started again, so that calls and notifications in flight are
    lost; after a half the collector gets SIGKILL and is started again; now and then a nova-compute
    is. What the cloud loses hold of is reset, as an operator would. A subscriber follows both
    models through all of it.
    """
    cloud.enable_all()
    outages = []

    def kill_compute(host):
        processes.kill_compute(host)
        processes.start_computes()

    def kill_broker():
        began = time.time()
        broker.kill()
        broker.start()
        outages.append((began - 1, time.time() + BACK_WITHIN_S))

    def kill_collector():
        child = system_on_it.child("collector")
        child.process.kill()
        child.process.wait(10)
        note("started again", system_on_it.supervisor.restart_failed())

    operations = RandomOperations(
        cloud,
        storage,
        seed=7,
        kill_compute=kill_compute,
        between={
            COUNT // 4: kill_broker,
            COUNT // 2: kill_collector,
            3 * COUNT // 4: kill_broker,
        },
    )
    operations.be_patient()
    made_good.append(operations)
    comparisons = models(system_on_it, cloud)
    with subscribed(system_on_it, broker.url) as subscriber:
        began = time.monotonic()
        try:
            operations.run(COUNT, limit_s=5.0 * COUNT)
        finally:
            note("took s", round(time.monotonic() - began))
            tell(note, operations)
        operations.settle()
        note("reset by hand", operations.rescued)
        for kind, comparison in comparisons.items():
            waited = comparison.await_equal(POLLED_WITHIN_S)
            note(f"{kind}: 0 differences after s", round(waited, 1))
        for kind, comparison in comparisons.items():
            subscriber.await_digest(kind, lambda found=comparison: found.live().digest())
    note("cloud's act to delta", quantiles(subscriber.delays(outages)))
    note("the same, with those that waited for the broker", quantiles(subscriber.delays()))
    note("deltas by cause", dict(subscriber.causes))
    note("snapshots", dict(subscriber.snapshots))
    log = (system_on_it.spec.state_dir / "logs" / "collector.log").read_text()
    note("reads in full", log.count("read the cloud in full"))
    assert log.count("the connection to the broker is lost") + log.count("no notifications") >= 2
    assert log.count("notifications are read") >= 4  # at its two starts, after each kill
