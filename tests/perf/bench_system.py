"""Rows of the bench that need the running system: REST, latency, start-up, memory."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import tempfile
import time
import uuid
from pathlib import Path

import grpc
from bench_clouds import cluster_file
from bench_model import Figure
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes_watch import cpu_s, exact_cpu_s, family, pss_mib

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec, database_of
from trimtab_cli.system import SERVICES, System, running
from trimtab_common.domain.lifecycle import AuditState, AuditType
from trimtab_common.domain.records import Audit
from trimtab_common.store import Query, open_store

HEADERS = {"OpenStack-API-Version": "infra-optim latest", "X-Auth-Token": "none"}
ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"}
IDLE_S = 15.0
"""Before memory is looked at: services give back what a start left within 12 s."""
SLEEP_S = 1.0
"""That the dummy plan holds: the least that its strategy takes."""


class Door:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._http.connect()
        self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Hangs up."""
        self._http.close()

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """The body of a good answer."""
        text = None if body is None else json.dumps(body)
        headers = HEADERS | ({"Content-Type": "application/json"} if text else {})
        self._http.request(method, path, text, headers)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content

    def json(self, method: str, path: str, body: object = None):
        content = self.ask(method, path, body)
        return json.loads(content) if content else None


def rest_figures(system: System, rows):
    """CPU of the api process a request: the least of some rounds, over one kept connection."""
    door = Door(system.ports.api_http)
    pid = system.child("api").pid
    uuids = asyncio.run(fill(system, 1_000))
    places = {"audit": uuids[500]}
    for row in rows:
        method, path = row["method"], row["path"].format(**places)
        body = row.get("body")
        size = len(door.ask(method, path, body))
        best = float("inf")
        for _ in range(row["rounds"]):
            before = exact_cpu_s(pid)
            for _ in range(row["requests"]):
                door.ask(method, path, body)
            best = min(best, (exact_cpu_s(pid) - before) / row["requests"])
        void = "" if size >= row["min_bytes"] else f"the answer has {size} bytes only"
        yield Figure(row["key"], best * 1000, f"{size} bytes", void)


async def fill(system: System, count: int) -> list[str]:
    """So many ended audits, straight into the record."""
    store = await open_store(database_of(system.spec))
    try:
        async with store.read() as session:
            goal = (await session.goals.list(Query(filters={"name": "dummy"})))[0]
            strategy = (await session.strategies.list(Query(filters={"name": "dummy"})))[0]
        uuids = [str(uuid.uuid4()) for _ in range(count)]
        for start in range(0, count, 100):

            async def some(session, start=start):
                for name in uuids[start : start + 100]:
                    await session.audits.create(
                        Audit(
                            uuid=name,
                            name=f"bench-{name}",
                            audit_type=AuditType.ONESHOT,
                            state=AuditState.CANCELLED,
                            goal_id=goal.id,
                            strategy_id=strategy.id,
                            parameters={"para1": 3.2, "para2": "hello"},
                        ),
                        notify=False,
                    )

            await store.transact(some)
        return uuids
    finally:
        await store.close()


def latency_figures(system: System, runs: int):
    """Through Envoy, as an operator's client sees it: the least of some runs, wall."""
    door = Door(system.ports.gateway)
    planned, carried = [], []
    body = {"audit_type": "ONESHOT", "goal": "dummy", "strategy": "dummy"}
    body["parameters"] = {"para1": SLEEP_S, "para2": "hello"}
    for _ in range(runs):
        began = time.perf_counter()
        audit = door.json("POST", "/v1/audits", body)
        path = f"/v1/action_plans?audit_uuid={audit['uuid']}"
        plan = _when(lambda path=path: door.json("GET", path)["action_plans"])[0]
        planned.append(time.perf_counter() - began)
        path = f"/v1/action_plans/{plan['uuid']}"
        _when(lambda: door.json("GET", f"/v1/audits/{audit['uuid']}")["state"] in ENDED)  # noqa: B023
        began = time.perf_counter()
        door.ask("POST", f"{path}/start", {})
        done = _when(lambda path=path: _ended(door.json("GET", path)))
        carried.append(time.perf_counter() - began)
        if done["state"] != "SUCCEEDED":
            yield Figure("dummy_start", None, "", f"a dummy plan ended {done['state']}")
            return
    yield Figure("dummy_recommended", min(planned), f"{runs} runs, worst {max(planned):.2f}")
    yield Figure("dummy_start", min(carried), f"{runs} runs, worst {max(carried):.2f}")


def _ended(found):
    return found if found["state"] in ENDED else None


def _when(look, within_s=30.0):
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.004)
    raise TimeoutError


def start_figures(system: System, repeats: int):
    """Each service ended and started again while the others run: to SERVING, wall and CPU."""
    for name in ("api", "decision", "applier", "collector", "scoring"):
        walls, spent = [], []
        for _ in range(repeats):
            child = system.child(name)
            os.kill(child.pid, signal.SIGTERM)
            child.process.wait(20)
            began = time.perf_counter()
            child.start()
            _until_serving(system.ports.grpc(name))
            walls.append(time.perf_counter() - began)
            spent.append(sum(map(cpu_s, family(child.pid))))
        yield Figure(f"start_{name}", min(walls), f"CPU {min(spent):.2f} s with its workers")
        yield Figure(f"start_{name}_cpu", min(spent))


def _until_serving(port: int, within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)]
    options += [("grpc.min_reconnect_backoff_ms", 50)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < until:
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                pass
            time.sleep(0.01)
    raise TimeoutError


def memory_figures(system: System):
    """PSS of the five services with their workers, idle, by what each has after its first work."""
    each = {name: sum(map(pss_mib, family(system.child(name).pid))) for name in SERVICES}
    load = ", ".join(f"{name} {mib:.0f}" for name, mib in each.items())
    yield Figure("memory", sum(each.values()), load)


def system_figures(limits):
    """All of them, on one system at 100 hosts and 2,000 servers."""
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder:
        contents = Path(folder) / "cluster.json"
        contents.write_text(json.dumps(cluster_file(100, 2_000, 1)))
        spec = SystemSpec(
            state_dir=Path(folder),
            ports=ports.free_row(),
            ready_timeout_s=300.0,  # a busy machine
            fakecloud_args=("--cluster", str(contents), "--migration-seconds", "0.1"),
        )
        with running(spec, say=lambda _line: None) as system:
            _when(lambda: _has_model(system), 60)
            yield from start_figures(system, limits["start_repeats"])
            _when(lambda: _has_model(system), 60)
            time.sleep(IDLE_S)
            yield from memory_figures(system)
            yield from latency_figures(system, limits["latency_runs"])
            yield from rest_figures(system, limits["rest"])


def _has_model(system: System) -> bool:
    found = Door(system.ports.api_http).json("GET", "/v1/data_model")
    return len(found["context"]) >= 2_000
