"""Runs a fake cloud: for tests inside their own event loop, for the command until it is stopped."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from trimtab_fakecloud.app import build_app
from trimtab_fakecloud.clock import Clock, LoopClock
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.engine import Compute
from trimtab_fakecloud.contents import fill
from trimtab_fakecloud.ledger import Ledger
from trimtab_fakecloud.notifications import Teller
from trimtab_fakecloud.rest.keystone import REGION
from trimtab_fakecloud.sender import Sender
from trimtab_fakecloud.settings import CloudSpec
from trimtab_fakecloud.tokens import USERS

CLOUD_NAMES = {"fakecloud": "admin", "watcher": "watcher"}
"""Clouds in the clouds.yaml, and whose they are."""


class FakeCloud:
    """A cloud that answers on ``base_url``."""

    def __init__(self, cloud: Cloud, compute: Compute, base_url: str) -> None:
        self.state = cloud
        self.compute = compute
        self.base_url = base_url
        self.notification_exchange = ""
        """Where Nova's notifications are sent; empty: nowhere."""
        self.sender: Sender | None = None
        """Who sends them."""

    @property
    def auth_url(self) -> str:
        """Keystone."""
        return f"{self.base_url}/identity/v3"

    @property
    def prometheus_url(self) -> str:
        """Prometheus, without ``/api/v1``."""
        return f"{self.base_url}/prometheus"

    @property
    def ledger(self) -> Ledger:
        """Every write that was tried."""
        return self.state.ledger

    def clouds_yaml_dict(self) -> dict[str, Any]:
        """What a clouds.yaml for this cloud holds: ``fakecloud`` (admin) and ``watcher``."""
        return {"clouds": {name: self._entry(user) for name, user in CLOUD_NAMES.items()}}

    def entry(self, user_name: str) -> dict[str, Any]:
        """One cloud of a clouds.yaml, for any of the users."""
        return self._entry(user_name)

    def _entry(self, user_name: str) -> dict[str, Any]:
        user = next(u for u in USERS if u.name == user_name)
        return {
            "auth": {
                "auth_url": self.auth_url,
                "username": user.name,
                "password": user.password,
                "project_name": user.project,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": REGION,
            "identity_api_version": "3",
        }


@asynccontextmanager
async def running_fakecloud(
    spec: CloudSpec | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Clock | None = None,
) -> AsyncIterator[FakeCloud]:
    """A fake cloud, from here to the end of the block.

    Args:
        spec: contents and manners.
        host: where to listen.
        port: 0 takes a free one.
        clock: the cloud's time; None follows the event loop.

    Raises:
        ClusterFileError: the contents cannot be.
        OSError: the port is taken, or RabbitMQ does not answer.
    """
    cloud = Cloud(spec or CloudSpec(), clock or LoopClock())
    fill(cloud)
    compute = Compute(cloud)
    listener = _listen(host, port)
    server = _Server(
        uvicorn.Config(
            build_app(cloud, compute),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _started(server, serving)
        bound = listener.getsockname()[1]
        fake = FakeCloud(cloud, compute, f"http://{host}:{bound}")
        async with _notifying(fake):
            yield fake
    finally:
        server.should_exit = True
        await serving
        listener.close()
        await compute.close()


@asynccontextmanager
async def _notifying(fake: FakeCloud) -> AsyncIterator[None]:
    """Sends notifications, if they are wanted."""
    spec = fake.state.spec
    if spec.rabbit_url is None:
        yield
        return
    port = fake.base_url.rpartition(":")[2]
    fake.notification_exchange = spec.notification_exchange or f"nova-fakecloud-{port}"
    sender = Sender(spec.rabbit_url, fake.notification_exchange)
    await sender.start()
    fake.sender = sender
    Teller(fake.state, sender.send)
    try:
        yield
    finally:
        await sender.close()


def _listen(host: str, port: int) -> socket.socket:
    # Says TCP outright: asyncio turns Nagle's delay (40 ms an answer) off only for such sockets.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    def capture_signals(self) -> Any:
        return _no_signals()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


async def _started(server: _Server, serving: asyncio.Task[None]) -> None:
    """Wait until it listens, or has failed to."""
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait({listening, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not listening.done():
        listening.cancel()
        await serving
        raise RuntimeError("the fake cloud's web server stopped before it listened")


class _no_signals:  # noqa: N801, a context manager that is used like a function
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None
