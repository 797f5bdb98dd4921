"""One process of one service: a gRPC server with health, reflection and metrics, and its tasks."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import itertools
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import grpc
import grpc.aio
import prometheus_client
import structlog
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from trimtab_common.domain.errors import (
    FailedPrecondition,
    InvalidArgument,
    TrimtabError,
    Unavailable,
)
from trimtab_common.runtime import channels, failpoints, logs, memory
from trimtab_common.runtime.errors import ErrorInterceptor
from trimtab_common.runtime.settings import CommonSettings

log = structlog.get_logger(__name__)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
CATALOGUE = "catalogue"
"""What decision's health knows once goals and strategies of this release stand in the record."""
RESTART_AFTER_S = (0.5, 1.0, 2.0, 5.0)
MEMORY_AFTER_S = (2.0, 5.0, 5.0)
MEMORY_EVERY_S = 30.0


def is_loopback(address: str) -> bool:
    """Whether host:port names this machine only."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Service:
    """What a `main.py` wires: add servicers and background tasks, start, wait, stop."""

    def __init__(
        self,
        name: str,
        address: str,
        *,
        settings: CommonSettings,
        max_request_bytes: int = channels.MAX_REQUEST_BYTES,
    ) -> None:
        if not (is_loopback(address) or settings.insecure):
            raise FailedPrecondition(
                f"{name} would listen on {address}, reachable from other machines without mutual "
                "TLS. Bind it to 127.0.0.1, or set [trimtab] insecure=true if that is wanted."
            )
        self.name = name
        self.address = address
        self.bound_port = 0
        self._settings = settings
        self._health = health.aio.HealthServicer()
        self._names: list[str] = []
        self._factories: list[tuple[Callable[[], Coroutine[Any, Any, None]], str]] = [
            (_give_memory_back, "memory")
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._closers: list[Callable[[], Awaitable[object]]] = []
        self._metrics: Any = None
        self.given_up: TrimtabError | None = None
        self.stopping = asyncio.Event()
        self.server = grpc.aio.server(
            interceptors=[ErrorInterceptor(debug=settings.debug)],
            options=[
                ("grpc.max_receive_message_length", max_request_bytes),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ],
            maximum_concurrent_rpcs=settings.max_concurrent_calls,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)

    def add(
        self, servicer: object, add_to_server: Callable[[Any, Any], None], full_name: str
    ) -> None:
        """Registers a servicer under its full protobuf service name."""
        add_to_server(servicer, self.server)
        self._names.append(full_name)

    async def report(self, full_name: str, *, serving: bool) -> None:
        """Changes what health says about one of the servicers, while the process itself serves."""
        await self._health.set(full_name, SERVING if serving else NOT_SERVING)

    def give_up(self, error: TrimtabError) -> None:
        """Ends the process, which cannot do its work here; `run` tells why."""
        self.given_up = error
        self.stopping.set()

    def background(self, factory: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """A task that runs while the service does; when it fails it is logged and restarted."""
        self._factories.append((factory, name))

    def on_stop(self, closer: Callable[[], Awaitable[object]]) -> None:
        """Called when the service stops, last added first."""
        self._closers.append(closer)

    async def start(self) -> None:
        """Binds, serves and says SERVING. FailedPrecondition when the address is taken."""
        try:
            self.bound_port = self.server.add_insecure_port(self.address)
        except RuntimeError:
            self.bound_port = 0
        if not self.bound_port:
            raise FailedPrecondition(
                f"{self.name} cannot listen on {self.address}: the address is in use. "
                "Stop what listens there or choose another one in the [trimtab] section."
            )
        reflection.enable_server_reflection(
            [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self.server
        )
        await self.server.start()
        self._tasks = [asyncio.create_task(_supervise(f, n), name=n) for f, n in self._factories]
        metrics_address = self._settings.metrics_address(self.address)
        if metrics_address:
            host, _, port = metrics_address.rpartition(":")
            self._metrics, _ = prometheus_client.start_http_server(int(port), addr=host)
        for name in ("", *self._names):
            await self._health.set(name, SERVING)
        log.info("serving", address=self.address, port=self.bound_port)

    async def stop(self, grace_s: float = 5.0) -> None:
        """Says NOT_SERVING, lets calls end, cancels tasks, closes what was opened."""
        for name in ("", *self._names):
            await self._health.set(name, NOT_SERVING)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.server.stop(grace_s)
        for closer in reversed(self._closers):
            await closer()
        if self._metrics is not None:
            self._metrics.shutdown()
            self._metrics.server_close()
        log.info("stopped")


async def _supervise(factory: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    attempt = 0
    while True:
        try:
            await factory()
        except asyncio.CancelledError:
            raise
        except Exception:  # the supervisor records and restarts, whatever it was
            wait = RESTART_AFTER_S[min(attempt, len(RESTART_AFTER_S) - 1)]
            attempt += 1
            log.exception("background task failed", task=name, restart_after_s=wait)
            await asyncio.sleep(wait)
        else:
            return


async def _give_memory_back() -> None:
    """What imports and first builds left, soon after the start; then now and then."""
    for pause_s in itertools.chain(MEMORY_AFTER_S, itertools.repeat(MEMORY_EVERY_S)):
        await asyncio.sleep(pause_s)
        await asyncio.to_thread(memory.give_back)


async def _until_signalled(service: Service) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stopping.set)
    await service.start()
    gc.enable()  # see launching
    gc.freeze()  # code and wiring stay: each full collection would walk 300,000 objects for nothing
    await service.stopping.wait()
    await service.stop()
    if service.given_up is not None:
        raise service.given_up


def run(build: Callable[[], Awaitable[Service]], *, settings: CommonSettings, name: str) -> int:
    """Builds the service inside a uvloop, serves until SIGTERM or SIGINT. Gives the exit code.

    Exit code 2, with one line on what to do, when it cannot start.
    """
    logs.configure(form=settings.log_format, level=settings.log_level, service=name)

    async def main() -> None:
        if failpoints.arm_from_environment():
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGUSR2, failpoints.arm_from_environment
            )
        await _until_signalled(await build())

    try:
        uvloop.run(main())
    except (FailedPrecondition, InvalidArgument, Unavailable) as error:
        log.error("cannot start", problem=error.message)  # noqa: TRY400, one line is enough
        return 2
    return 0
