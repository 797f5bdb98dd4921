"""The stage: a churning fake cloud, a real collector, and api with Envoy before it; all of them
processes, and RabbitMQ between. `kill_collector` is SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_cli import configuration, gateway
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.ports import free_row
from trimtab_cli.processes import Child
from trimtab_common.store.migrate import upgrade

HERE = Path(__file__).parent
READY_S = 240.0
RING = 300
"""Deltas that the collector under test keeps: few, so that its log forgets all the time."""

POLL_S = 4
"""Between two looks of the collector at the cloud. A poll tells of everything at once that changed since the
last, in one revision, and the notifications of it that are still on their way are late: polls that come as often
as notifications take to arrive leave nothing to stream."""


class Stage:
    """Everything that runs."""

    def __init__(self, spec: SystemSpec, cloud: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self.children: dict[str, Child] = {}
        self.kills = 0
        self._cloud = cloud
        self._cpu_s: dict[tuple[str, int], float] = {}
        self._asking = asyncio.Lock()

    @property
    def collector(self) -> str:
        return self.spec.ports.address("collector")

    @property
    def edge(self) -> str:
        return f"127.0.0.1:{self.spec.ports.gateway}"

    async def ask(self, limit_s: float = 30.0, **command: Any) -> dict[str, Any]:
        """One command to the cloud, and its answer."""
        assert self._cloud.stdin is not None
        assert self._cloud.stdout is not None
        async with self._asking, asyncio.timeout(limit_s):
            self._cloud.stdin.write(json.dumps(command).encode() + b"\n")
            await self._cloud.stdin.drain()
            line = await self._cloud.stdout.readline()
        assert line, "the cloud process ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def start(self, name: str, *command: str) -> None:
        environment = {
            **os.environ,
            "OS_CLIENT_CONFIG_FILE": str(self.spec.state_dir / "clouds.yaml"),
        }
        log = self.spec.state_dir / f"{name}.log"
        self.children[name] = Child(name, command, log, environment)
        self.children[name].start()

    def start_service(self, name: str) -> None:
        binary = Path(sys.executable).parent / f"trimtab-{name}"
        self.start(name, str(binary), f"--config-file={self.spec.state_dir / 'trimtab.conf'}")

    async def answers(self, name: str) -> None:
        async with (
            asyncio.timeout(READY_S),
            grpc.aio.insecure_channel(self.spec.ports.address(name)) as channel,
        ):
            stub = health_pb2_grpc.HealthStub(channel)
            while True:
                self.children[name].check()
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
                    return
                await asyncio.sleep(0.05)

    def kill_collector(self) -> None:
        """SIGKILL, and a new one at once."""
        child = self.children["collector"]
        assert child.process is not None
        self.cpu_s()
        os.kill(child.process.pid, signal.SIGKILL)
        child.process.wait(10)
        self.kills += 1
        child.start()

    def rss_mib(self, name: str) -> float:
        """Resident memory of a service now; 0 while it does not run."""
        pid = self.children[name].pid
        return memory_mib(pid) if pid else 0.0

    def cpu_s(self) -> dict[str, float]:
        """Processor time by name so far, of those too that were killed, up to the last look."""
        running = {(name, child.pid) for name, child in self.children.items()}
        for key in {*running, ("cloud", self._cloud.pid)}:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                self._cpu_s[key] = _processor_s(key[1])
        used: dict[str, float] = {"harness": time.process_time()}
        for (name, _), spent_s in self._cpu_s.items():
            kind = name.partition("-")[0]
            used[kind] = used.get(kind, 0.0) + spent_s
        return used

    async def digest(self) -> tuple[tuple[str, int], str]:
        """Position and digest that the collector itself gives."""
        async with grpc.aio.insecure_channel(self.collector) as channel:
            stub = model_pb2_grpc.ModelServiceStub(channel)
            async for part in stub.GetModel(model_pb2.GetModelRequest(), timeout=10):
                if part.HasField("end"):
                    at = part.end.position
                    return (at.epoch, int(at.revision)), part.end.digest
        raise AssertionError("a model without an end")

    async def close(self) -> None:
        for child in reversed(self.children.values()):
            if child.pid and child.process is not None:
                child.process.terminate()
                with contextlib.suppress(Exception):
                    child.process.wait(8)
                if child.process.poll() is None:
                    child.process.kill()
                    child.process.wait()
        self._cloud.kill()
        await self._cloud.wait()


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


@asynccontextmanager
async def staged(
    folder: Path, rabbit_url: str, *, hosts: int, servers: int
) -> AsyncIterator[Stage]:
    """All processes, from here to the end of the block."""
    spec = SystemSpec(
        state_dir=folder,
        ports=free_row(),
        rabbit_url=rabbit_url,
        extra_config=f"""
[collector]
quiet_poll_interval = {POLL_S}
delta_log_entries = {RING}
notification_queue = stream-{folder.name}-{os.getpid()}
""",
    )
    configuration.write(spec)
    await asyncio.to_thread(asyncio.run, upgrade(configuration.database_of(spec)))
    exchange = configuration.exchange_of(spec)
    cloud = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HERE / "churning_cloud.py")),
        *("--hosts", str(hosts), "--servers", str(servers), "--exchange", exchange),
        *("--rabbit-url", rabbit_url, "--clouds-yaml", str(folder / "clouds.yaml")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    stage = Stage(spec, cloud)
    try:
        assert cloud.stdout is not None
        async with asyncio.timeout(READY_S):
            assert json.loads(await cloud.stdout.readline())["ready"]
        stage.start_service("collector")
        stage.start_service("api")
        _start_envoy(stage)
        await stage.answers("collector")
        await stage.answers("api")
        yield stage
    finally:
        await stage.close()
        await _forget(rabbit_url, exchange, f"stream-{folder.name}-{os.getpid()}")


def _start_envoy(stage: Stage) -> None:
    ports = stage.spec.ports
    binary = gateway.envoy_binary()
    assert binary is not None, "the environment has no Envoy"
    config = stage.spec.state_dir / "envoy.json"
    config.write_text(
        gateway.render(
            gateway.GatewaySettings(
                port=ports.gateway,
                admin_port=ports.admin,
                api=ports.address("api"),
                api_http=f"127.0.0.1:{ports.api_http}",
                collector=ports.address("collector"),
                scoring=ports.address("scoring"),
            )
        )
    )
    options = ("--log-level", "warning", "--concurrency", "1", "--disable-hot-restart")
    stage.start("envoy", str(binary), "-c", str(config), *options)


async def _forget(rabbit_url: str, exchange: str, queue: str) -> None:
    async with await aio_pika.connect(rabbit_url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(queue)
        await channel.exchange_delete(exchange)
