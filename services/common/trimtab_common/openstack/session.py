"""One authenticated session with a cloud: the only place where its APIs are called.

openstacksdk gives the connection, the catalogue, the token and the microversions; what is read is
the JSON of its session, never a resource object (12 ms of CPU each). Calls run in threads, have a
deadline, and only reads are tried again.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import orjson
import structlog

from trimtab_common.domain.errors import (
    DeadlineExceeded,
    InvalidArgument,
    TrimtabError,
    Unauthenticated,
    Unavailable,
)
from trimtab_common.openstack import timely
from trimtab_common.openstack.errors import from_status
from trimtab_common.runtime import logs
from trimtab_common.runtime.clock import Clock, SystemClock

if TYPE_CHECKING:  # importing the SDK takes a second: done in a thread, at the first call
    import requests
    from openstack.connection import Connection

log = structlog.get_logger(__name__)
DEFAULT_TIMEOUT_S = 60.0
_BAD_REQUEST = 400
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API said. `body`: decoded JSON, None when empty; `date`: the server's clock."""

    status: int
    body: Any
    date: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a read is tried again when the service does not answer (C-015, C-164)."""

    retries: int = 3
    interval_s: float = 2.0


class CloudApi(Protocol):
    """What clients of single services need of a session."""

    async def get(
        self,
        service: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        microversion: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Answer:
        """Reads, trying again when the service does not answer."""
        ...

    async def send(
        self,
        method: str,
        service: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        microversion: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Answer:
        """Calls once. Errors: those of `openstack.errors`, Unavailable, DeadlineExceeded."""
        ...

    async def max_microversion(self, service: str) -> tuple[int, int]:
        """The newest microversion that the service offers; (0, 0) when it has none."""
        ...


class CloudSession:
    """A `CloudApi` over openstacksdk. `connect` makes the connection; it may be called again.

    pool: where calls wait for answers; None: threads of its own, `max_threads` of them.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        max_threads: int = 16,
        pool: Executor | None = None,
    ) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._retry = retry or RetryPolicy()
        self._clock = clock or SystemClock()
        self._own = None
        if pool is None:
            self._own = ThreadPoolExecutor(max_threads, thread_name_prefix="openstack")
        self._pool = pool or self._own
        self._connecting = asyncio.Lock()
        self._discovering: dict[str, asyncio.Lock] = {}
        self._discovered: set[str] = set()

    async def get(
        self,
        service: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        microversion: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Answer:
        """Reads; Unavailable only after the retries."""
        for attempt in range(self._retry.retries + 1):
            try:
                return await self.send(
                    "GET",
                    service,
                    path,
                    params=params,
                    microversion=microversion,
                    timeout_s=timeout_s,
                )
            except (Unavailable, DeadlineExceeded) as error:
                if attempt == self._retry.retries:
                    raise
                log.warning("trying again", service=service, path=path, problem=error.message)
                jitter = random.uniform(0.5, 1.0)  # noqa: S311, so that replicas spread
                await self._clock.sleep(self._retry.interval_s * jitter)
        raise AssertionError  # the loop returns or raises

    async def send(
        self,
        method: str,
        service: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        microversion: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Answer:
        """Calls once. Connecting, when that comes first, is part of the time."""
        what = f"{service} {method} {path}"
        began = time.monotonic()
        async with _within(timeout_s, what):
            call = functools.partial(
                _call,
                await self._ready(service),
                method,
                service,
                path,
                json=body,
                params=dict(params or {}),
                microversion=microversion,
                timeout=timeout_s,
                global_request_id=logs.current_request_id(),
            )
            not_after = began + timeout_s * 1.5
            return await self._in_thread(lambda: _unless_late(call, not_after, what), what)

    async def max_microversion(self, service: str) -> tuple[int, int]:
        """The newest microversion that the service offers."""
        what = f"{service} versions"
        async with _within(DEFAULT_TIMEOUT_S, what):
            call = functools.partial(_max_microversion, await self._connected(), service)
            return await self._in_thread(call, what)

    async def run(self, call: Callable[[Connection], _T], what: str) -> _T:
        """`call` in a thread, for clients that bring their own requests; its errors as ours."""
        async with _within(DEFAULT_TIMEOUT_S, what):
            ready = functools.partial(call, await self._connected())
            return await self._in_thread(ready, what)

    async def close(self) -> None:
        """Ends the connection, and its own threads."""
        if self._own is not None:
            self._own.shutdown(wait=False, cancel_futures=True)
        if self._connection is not None:
            self._connection.close()

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None:
                self._connection = await self._in_thread(self._connect, "connecting")
            return self._connection

    async def _ready(self, service: str) -> Connection:
        """The connection, with the service's root read: once, whoever asks first, then known."""
        connection = await self._connected()
        if service not in self._discovered:
            async with self._discovering.setdefault(service, asyncio.Lock()):
                if service not in self._discovered:
                    look = functools.partial(_discover, connection, service)
                    await self._in_thread(look, f"{service} versions")
                    self._discovered.add(service)
        return connection

    async def _in_thread(self, call: Callable[[], _T], what: str) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, _translating(call, what))


@asynccontextmanager
async def _within(timeout_s: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s * 1.5):  # requests' own limit is by read
            yield
    except TimeoutError:
        raise DeadlineExceeded(f"{what}: no answer within {timeout_s:.0f} s.") from None


def _unless_late(call: Callable[[], _T], not_after: float, what: str) -> _T:
    """A process that was stopped before its request was sent does not send it when it wakes."""
    with timely.not_after(not_after, what):
        return call()


def _translating(call: Callable[[], _T], what: str) -> Callable[[], _T]:
    def translated() -> _T:
        try:
            return call()
        except TrimtabError:
            raise
        except Exception as error:  # re-raised unless it is one of the SDK's
            known = _as_ours(error, what)
            if known is None:
                raise
            raise known from error

    return translated


def _as_ours(error: Exception, what: str) -> TrimtabError | None:
    import requests  # noqa: PLC0415, see above
    from keystoneauth1 import exceptions as ksa  # noqa: PLC0415, see above
    from openstack import exceptions as sdk  # noqa: PLC0415, see above

    match error:
        case ksa.Unauthorized() | ksa.MissingAuthPlugin():
            return Unauthenticated(f"{what}: Keystone refuses the credentials: {error}")
        case ksa.ConnectTimeout() | requests.Timeout():
            return DeadlineExceeded(f"{what}: {error}")
        case sdk.ConfigException() | sdk.NotSupported():
            return InvalidArgument(f"{what}: {error}")
        case ksa.ClientException() | sdk.SDKException() | requests.RequestException():
            return Unavailable(f"{what}: {error}")
    return None


def _call(connection: Connection, method: str, service: str, path: str, **options: Any) -> Answer:
    proxy = getattr(connection, service)
    response: requests.Response = proxy.request(
        path, method, connect_retries=0, raise_exc=False, **options
    )
    content = response.content
    body = _decoded(content) if content else None
    if response.status_code >= _BAD_REQUEST:
        raise from_status(response.status_code, body, f"{service} {method} {path}")
    return Answer(response.status_code, body, _date(response))


def _decoded(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode(errors="replace")


def _date(response: requests.Response) -> datetime:
    try:
        return parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _discover(connection: Connection, service: str) -> None:
    """Fills keystoneauth's memory of the service's versions. An unknown service fails at its call."""
    getattr(connection, service).get_endpoint_data()


def _max_microversion(connection: Connection, service: str) -> tuple[int, int]:
    data = getattr(connection, service).get_endpoint_data()
    newest = data.max_microversion if data is not None else None
    return (newest[0], newest[1]) if newest else (0, 0)
