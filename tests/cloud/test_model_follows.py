"""After whatever was done to the cloud, the live model equals a fresh full read of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fresh_read import Comparison
from private_broker import PrivateBroker, server_program
from random_operations import RandomOperations

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import running

EQUAL_WITHIN_S = 10.0
POLLED_WITHIN_S = 150.0
"""Of the death of a host no notification tells: Nova finds out after 60 s, a poll 30 s later (C-061)."""


def tell(note, operations):
    for name in ("done", "refused", "failed"):
        note(name, dict(getattr(operations, name)))


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_after_random_operations_the_model_equals_a_fresh_read(cloud, system, note, count):
    cloud.enable_all()
    comparison = Comparison(system, lambda: cloud.connection.auth_token)
    operations = RandomOperations(cloud, seed=count)
    try:
        operations.run(count, limit_s=4.0 * count)
        cloud.settle()
        note("equal after s", round(comparison.await_equal(EQUAL_WITHIN_S), 1))
        operations.confirm_all()
        cloud.await_agreement()
    finally:
        cloud.enable_all()
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
    """Undoes operations when Nova is back on its own broker: on one that died it does not always
    come back, and then deletes nothing.
    """
    to_clean: list[RandomOperations] = []
    yield to_clean
    cloud.enable_all()
    for operations in to_clean:
        operations.clean()
    cloud.forget_orphans()


@pytest.fixture
def nova_on_it(cloud, broker, processes, made_good):
    """All of Nova on the private broker: its calls as well as its notifications."""
    del made_good
    began = now()
    with processes.nova_with({"OS_DEFAULT__TRANSPORT_URL": broker.url}):
        cloud.await_computes(began)
        yield
        began = now()
    cloud.await_computes(began)


def now():
    """As Nova writes times."""
    return datetime.now(UTC).replace(tzinfo=None)


@pytest.fixture
def system_on_it(nova_on_it, broker, tmp_path):
    del nova_on_it
    spec = SystemSpec(
        state_dir=tmp_path / "system",
        ports=ports.free_row(),
        cloud="watcher",
        rabbit_url=broker.url,
    )
    with running(spec, say=lambda _line: None) as started:
        yield started


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("count", [300])
def test_with_computes_and_the_broker_killed_the_model_equals_a_fresh_read(
    cloud, broker, system_on_it, made_good, processes, note, count
):
    """A RabbitMQ node of the test's own carries Nova's calls and notifications: all of Nova is
    restarted onto it, and back at the end. In the middle of the operations it gets SIGKILL and is
    started again, so that calls and notifications in flight are lost; now and then a nova-compute
    is killed and started again. Servers that Nova loses hold of are reset, as an operator would.
    """
    cloud.enable_all()
    comparison = Comparison(system_on_it, lambda: cloud.connection.auth_token)

    def kill_compute(host):
        processes.kill_compute(host)
        processes.start_computes()

    def kill_broker():
        operations.patient = True
        broker.kill()
        broker.start()

    operations = RandomOperations(
        cloud, seed=7, kill_compute=kill_compute, between={count // 2: kill_broker}
    )
    made_good.append(operations)
    try:
        operations.run(count, limit_s=6.0 * count)
        operations.settle()
        note("servers reset", operations.rescued)
        note("equal after s", round(comparison.await_equal(POLLED_WITHIN_S), 1))
        log = (system_on_it.spec.state_dir / "logs" / "collector.log").read_text()
        note("reads in full", log.count("read the cloud in full"))
        assert "the connection to the broker is lost" in log or "no notifications" in log
        assert log.count("notifications are read") >= 2
    finally:
        tell(note, operations)
