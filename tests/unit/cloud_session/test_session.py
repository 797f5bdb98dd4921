"""The session with a cloud, on a connection that counts."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from trimtab_common.domain.errors import Unavailable
from trimtab_common.openstack.session import CloudSession, RetryPolicy


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
