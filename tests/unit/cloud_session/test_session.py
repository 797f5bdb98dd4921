"""The session with a cloud, on a connection that counts."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest
import requests

from trimtab_common.domain.errors import NotFound, Unavailable
from trimtab_common.openstack.session import CloudSession, RetryPolicy
from trimtab_common.runtime.general_pool import GeneralPool


class Service:
    """A proxy of openstacksdk whose root takes its time to be read."""

    def __init__(self, failures=0):
        self._lock = threading.Lock()
        self._failures = failures
        self.roots = 0
        self.requests = 0

    def get_endpoint_data(self):
        from keystoneauth1.exceptions import ConnectFailure

        threading.Event().wait(0.02)
        with self._lock:
            self.roots += 1
            if self.roots <= self._failures:
                raise ConnectFailure("nobody there")

    def request(self, path, method, **options):
        del path, method, options
        with self._lock:
            self.requests += 1
        return SimpleNamespace(content=b"{}", status_code=200, headers={})


@pytest.fixture
async def session_on():
    sessions = []

    def make(service):
        retry = RetryPolicy(retries=0, interval_s=0)
        sessions.append(CloudSession(lambda: SimpleNamespace(placement=service), retry=retry))
        return sessions[-1]

    yield make
    for session in sessions:
        session._connection = None
        await session.close()


async def test_the_root_of_a_service_is_read_once_by_many_who_ask_at_once(session_on):
    service = Service()
    session = session_on(service)
    await asyncio.gather(*(session.get("placement", f"/p/{n}") for n in range(6)))
    assert (service.roots, service.requests) == (1, 6)


async def test_a_root_that_could_not_be_read_is_read_again_at_the_next_call(session_on):
    service = Service(failures=1)
    session = session_on(service)
    with pytest.raises(Unavailable):
        await session.get("placement", "/p")
    await session.get("placement", "/p")
    assert (service.roots, service.requests) == (2, 1)


class Patient:
    """A clock on which nobody waits; keeps how long each would have."""

    def __init__(self):
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)


class Failing(Service):
    """Answers these statuses in turn, then 200; None breaks the connection."""

    def __init__(self, *statuses):
        super().__init__()
        self.statuses = list(statuses)

    def request(self, path, method, **options):
        answer = super().request(path, method, **options)
        status = self.statuses.pop(0) if self.statuses else 200
        if status is None:
            raise requests.ConnectionError(f"connection {self.requests} broke")
        answer.status_code = status
        return answer


def patient_session(service, **policy):
    clock = Patient()
    session = CloudSession(
        lambda: SimpleNamespace(placement=service), retry=RetryPolicy(**policy), clock=clock
    )
    return session, clock


@pytest.mark.req("C-015")
async def test_a_read_is_tried_as_often_as_is_set_and_the_last_error_is_the_one_raised():
    service = Failing(None, None, None, None)
    session, clock = patient_session(service, retries=3, interval_s=2.0)
    with pytest.raises(Unavailable, match="connection 4 broke") as raised:
        await session.get("placement", "/p")
    assert isinstance(raised.value.__cause__, requests.ConnectionError)
    assert service.requests == 4
    assert len(clock.slept) == 3  # none after the last try
    assert all(1.0 <= seconds <= 2.0 for seconds in clock.slept)


@pytest.mark.req("C-015")
async def test_a_service_that_is_back_in_time_has_answered():
    session, _ = patient_session(Failing(503, None, 502), retries=3, interval_s=1.0)
    assert (await session.get("placement", "/p")).status == 200


@pytest.mark.req("C-015")
async def test_what_a_retry_cannot_mend_is_raised_at_once():
    service = Failing(404)
    session, clock = patient_session(service, retries=10, interval_s=1.0)
    with pytest.raises(NotFound):
        await session.get("placement", "/p")
    assert (service.requests, clock.slept) == (1, [])


@pytest.mark.req("B-065")
async def test_calls_wait_in_the_pool_that_is_given_and_leave_it_open():
    service = Service()
    with GeneralPool(2) as pool:
        session = CloudSession(lambda: SimpleNamespace(placement=service), pool=pool)
        await asyncio.gather(*(session.get("placement", f"/p/{n}") for n in range(6)))
        session._connection = None
        await session.close()
        assert pool.submit(pow, 2, 3).result(5) == 8
        assert len(pool._threads) <= 2
    assert service.requests == 6
