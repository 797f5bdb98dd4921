"""A long run of the whole system on the fake cloud: audits, plans, churn, restarts, and what stays behind.

`make soak MINUTES=20`. For the first two fifths of the time services are ended and started again, every
second time by SIGKILL; then all go on undisturbed, and memory and file descriptors are watched. At the end
the work stops, what is under way may end, and the record is searched for leases that nobody holds and
notifications that nobody sent. Prints a table; exit code 1 when a limit of soak.toml is broken, 2 when there was
too little load. Uses RabbitMQ where one answers (TRIMTAB_TEST_RABBITMQ_URL), with an exchange of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika
import httpx
import sqlalchemy as sa
from processes_watch import family, fds, rss_mib, slope

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec, database_of
from trimtab_cli.system import SERVICES, System, running
from trimtab_common.store import open_store, tables

LIMITS = tomllib.loads((Path(__file__).parent / "soak.toml").read_text())
ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED", "DELETED"}
RESTARTS_FOR = 0.4
SAMPLE_S = 5.0
KEPT_AUDITS = 30
RABBIT = os.environ.get("TRIMTAB_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/")
GOALS = (
    ("server_consolidation", "vm_workload_consolidation"),
    ("workload_balancing", "workload_stabilization"),
    ("dummy", "dummy"),
)


@dataclass
class Seen:
    """What happened."""

    counts: Counter = field(default_factory=Counter)
    samples: list = field(default_factory=list)
    ids: Counter = field(default_factory=Counter)
    restarts: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    busy_s: float = 0.0


class Soak:
    """One run."""

    def __init__(self, system: System, seconds: float, seed: int, topic: str | None) -> None:
        self.system = system
        self.seconds = seconds
        self.random = random.Random(seed)
        self.topic = topic
        self.seen = Seen()
        self.stopping = False
        self.began = time.monotonic()
        self.audits: list[str] = []
        self.left: dict[str, int] = {}

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    async def run(self) -> None:
        async with httpx.AsyncClient(
            base_url=self.system.url,
            timeout=30,
            headers={"OpenStack-API-Version": "infra-optim latest", "X-Auth-Token": "none"},
        ) as client:
            works = [
                self.audit_forever(client, 0),
                self.audit_forever(client, 1),
                self.continuous(client),
                self.read_forever(client),
                self.churn_forever(),
                self.restart_some(),
                self.sample_forever(),
            ]
            tasks = [asyncio.create_task(work) for work in works]
            listening = asyncio.create_task(self.listen())
            await asyncio.sleep(self.seconds)
            self.stopping = True
            self.seen.busy_s = self.elapsed
            await asyncio.wait(tasks, timeout=LIMITS["limits"]["drain_s"])
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self.seen.problems += [repr(r) for r in results if isinstance(r, Exception)]
            await self.drained()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def asked(self, client: httpx.AsyncClient, method: str, path: str, body=None):
        """The JSON, or None while something restarts."""
        try:
            answer = await client.request(method, path, json=body)
        except httpx.TransportError:
            self.seen.counts["requests lost"] += 1
            return None
        self.seen.counts["requests"] += 1
        if answer.status_code >= 500:
            self.seen.counts["requests 5xx"] += 1
            return None
        if answer.status_code >= 400:
            self.seen.counts["requests 4xx"] += 1
            return None
        return answer.json() if answer.content else {}

    async def ended(self, client: httpx.AsyncClient, path: str, within_s: float = 240):
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            found = await self.asked(client, "GET", path)
            if found and found["state"] in ENDED:
                return found
            await asyncio.sleep(0.25)
        self.seen.problems.append(f"{path} did not end within {within_s} s")
        return None

    async def audit_forever(self, client: httpx.AsyncClient, number: int) -> None:
        turn = number
        while not self.stopping:
            goal, strategy = GOALS[turn % len(GOALS)]
            turn += 1
            body = {"audit_type": "ONESHOT", "goal": goal, "strategy": strategy}
            audit = await self.asked(client, "POST", "/v1/audits", body)
            if audit is None:
                await asyncio.sleep(0.5)
                continue
            self.seen.counts["audits"] += 1
            self.audits.append(audit["uuid"])
            done = await self.ended(client, f"/v1/audits/{audit['uuid']}")
            self.seen.counts[f"audits {done['state'] if done else 'hang'}"] += 1
            if done and done["state"] != "SUCCEEDED":
                self.seen.counts[f"{strategy}: {(done['status_message'] or '')[:100]}"] += 1
            if done and done["state"] == "SUCCEEDED":
                await self.carry_out(client, audit["uuid"])
            elif done and done["state"] == "CANCELLED":
                await asyncio.sleep(1)  # a plan runs, and an audit without `force` waits for none
            await self.forget_old(client)

    async def carry_out(self, client: httpx.AsyncClient, audit: str) -> None:
        found = await self.asked(client, "GET", f"/v1/action_plans?audit_uuid={audit}")
        for plan in (found or {}).get("action_plans", ()):
            if plan["state"] != "RECOMMENDED":
                continue
            path = f"/v1/action_plans/{plan['uuid']}"
            if await self.asked(client, "POST", f"{path}/start") is None:
                continue
            done = await self.ended(client, path)
            self.seen.counts["plans"] += 1
            self.seen.counts[f"plans {done['state'] if done else 'hang'}"] += 1

    async def forget_old(self, client: httpx.AsyncClient) -> None:
        """The record stays small, so that what grows is not what was asked for."""
        while len(self.audits) > KEPT_AUDITS:
            uuid = self.audits.pop(0)
            found = await self.asked(client, "GET", f"/v1/action_plans?audit_uuid={uuid}")
            for plan in (found or {}).get("action_plans", ()):
                await self.asked(client, "DELETE", f"/v1/action_plans/{plan['uuid']}")
            await self.asked(client, "DELETE", f"/v1/audits/{uuid}")

    async def continuous(self, client: httpx.AsyncClient) -> None:
        body = {"audit_type": "CONTINUOUS", "goal": "dummy", "strategy": "dummy", "interval": "10"}
        made = None
        while made is None and not self.stopping:
            made = await self.asked(client, "POST", "/v1/audits", body)
            await asyncio.sleep(0.5)
        while not self.stopping:  # noqa: ASYNC110, the main line says when
            await asyncio.sleep(0.5)
        change = [{"op": "replace", "path": "/state", "value": "CANCELLED"}]
        for _ in range(60):
            if made and await self.asked(client, "PATCH", f"/v1/audits/{made['uuid']}", change):
                return
            await asyncio.sleep(1)

    async def read_forever(self, client: httpx.AsyncClient) -> None:
        paths = (
            "/v1/audits/detail",
            "/v1/action_plans",
            "/v1/actions",
            "/v1/services",
            "/v1/goals",
        )
        while not self.stopping:
            for path in (*paths, "/v1/data_model"):
                await self.asked(client, "GET", path)
                await asyncio.sleep(0.2)

    async def churn_forever(self) -> None:
        async with httpx.AsyncClient(base_url=self.system.fakecloud_url, timeout=30) as control:
            made: list[str] = []
            known = [s["uuid"] for s in (await control.get("/control/state")).json()["servers"]]
            while not self.stopping:
                with contextlib.suppress(httpx.TransportError):
                    answer = await control.post("/control/servers", json={"cpu_pct": 20})
                    if answer.is_success:
                        made.append(answer.json()["uuid"])
                    if len(made) > 20:
                        gone = made.pop(self.random.randrange(len(made)))
                        await control.delete(f"/control/servers/{gone}")
                    for uuid in self.random.sample(known, 3):
                        load = {"cpu_pct": self.random.uniform(1, 95)}
                        await control.put(f"/control/servers/{uuid}", json=load)
                    self.seen.counts["changes"] += 5
                await asyncio.sleep(2)

    async def restart_some(self) -> None:
        """Each service in turn; ended politely and killed in turn; up again within a second."""
        pause = min(60.0, self.seconds * RESTARTS_FOR / (2 * len(SERVICES)))
        for turn, name in enumerate((*SERVICES, *SERVICES)):
            await asyncio.sleep(pause)
            if self.stopping or self.elapsed > self.seconds * RESTARTS_FOR:
                break
            number = signal.SIGKILL if turn % 2 else signal.SIGTERM
            child = self.system.child(name)
            os.kill(child.pid, number)
            self.seen.restarts.append((round(self.elapsed), name, number.name))
            await self.back(name)
        while not self.stopping:
            self.up_again()
            await asyncio.sleep(1)

    async def back(self, name: str) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            await asyncio.sleep(0.5)
            if any(line.startswith(name) for line in self.up_again()):
                return
        self.seen.problems.append(f"{name} did not end within 30 s")

    def up_again(self) -> list[str]:
        for child in self.system.supervisor.children:
            child.restarts = 0  # ours are wished for
        return self.system.supervisor.restart_failed()

    async def sample_forever(self) -> None:
        while not self.stopping:
            await asyncio.sleep(SAMPLE_S)
            at = self.elapsed
            for child in self.system.supervisor.children:
                if child.pid:
                    pids = family(child.pid)
                    row = (at, child.name, child.pid, sum(map(rss_mib, pids)), fds(child.pid))
                    self.seen.samples.append(row)

    async def listen(self) -> None:
        """Takes what the outbox sends, so that the broker does not fill, and counts message ids."""
        if self.topic is None:
            return
        async with await aio_pika.connect(RABBIT) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=100)

            async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                self.seen.ids[message.message_id] += 1
                await message.ack()

            for priority in ("info", "warn", "error"):
                queue = await channel.declare_queue(f"{self.topic}.{priority}")
                await queue.consume(take)
            await asyncio.Future()

    async def drained(self) -> None:
        until = time.monotonic() + LIMITS["limits"]["drain_s"]
        while time.monotonic() < until:
            self.left = await self.look()
            if not any(self.left.values()):
                return
            await asyncio.sleep(1)

    async def look(self) -> dict[str, int]:
        """What is still under way or left behind."""
        store = await open_store(database_of(self.system.spec))
        try:
            async with store.read() as session:
                now = session.now()
                leases = tables.leases.c
                orphaned = await session.execute(
                    sa.select(sa.func.count())
                    .select_from(tables.leases)
                    .where(leases.owner != "", leases.until_at < now)
                )
                waiting = await session.execute(
                    sa.select(sa.func.count())
                    .select_from(tables.outbox)
                    .where(tables.outbox.c.published_at.is_(None))
                )
                unended = 0
                for table in (tables.audits, tables.action_plans):
                    found = await session.execute(
                        sa.select(sa.func.count())
                        .select_from(table)
                        .where(
                            table.c.deleted == 0,
                            table.c.state.in_(["PENDING", "ONGOING", "CANCELLING"]),
                        )
                    )
                    unended += found.scalar_one()
                return {
                    "orphaned leases": orphaned.scalar_one(),
                    "unpublished": waiting.scalar_one(),
                    "unended": unended,
                }
        finally:
            await store.close()


def judged(soak: Soak, settled: float) -> tuple[dict, list[str], list[str]]:
    """(figures by service, broken limits, reasons why the run is void) after the restarts."""
    limits, services, broken, void = LIMITS["limits"], {}, [], []
    for name in [child.name for child in soak.system.supervisor.children]:
        rows = [row for row in soak.seen.samples if row[1] == name and row[0] >= settled]
        if len(rows) < 6:
            void.append(f"only {len(rows)} looks at {name} after the restarts")
            continue
        rss = [(row[0], row[3]) for row in rows]
        open_fds = [row[4] for row in rows]
        third = max(1, len(rows) // 3)
        growth = sorted(open_fds[-third:])[third // 2] - sorted(open_fds[:third])[third // 2]
        per_hour = slope(rss) * 3600
        services[name] = {
            "rss_mib_first": round(rss[0][1], 1),
            "rss_mib_last": round(rss[-1][1], 1),
            "rss_mib_per_hour": round(per_hour, 1),
            "fds_first": open_fds[0],
            "fds_last": open_fds[-1],
            "fds_growth": growth,
        }
        if name in {"fakecloud", "envoy"}:
            continue
        if per_hour > limits["max_rss_growth_mib_per_hour"]:
            broken.append(f"{name} grows {per_hour:.0f} MiB an hour")
        if growth > limits["max_fd_growth"]:
            broken.append(f"{name} has {growth} file descriptors more")
    return services, broken, void


def report(soak: Soak) -> tuple[dict, list[str], list[str]]:
    """(all figures, broken limits, reasons why the run is void)."""
    seen, limits, load = soak.seen, LIMITS["limits"], LIMITS["load"]
    minutes = seen.busy_s / 60
    last_restart = max([at for at, _, _ in seen.restarts], default=0.0)
    settled = last_restart + min(120.0, soak.seconds * 0.15)
    services, broken, void = judged(soak, settled)
    rates = {
        "audits_per_min": seen.counts["audits"] / minutes,
        "plans_per_min": seen.counts["plans"] / minutes,
        "changes_per_min": seen.counts["changes"] / minutes,
    }
    void += [
        f"{name} {rate:.1f} is less than {load[f'min_{name}']}"
        for name, rate in rates.items()
        if rate < load[f"min_{name}"]
    ]
    if len(seen.restarts) < load["min_restarts"]:
        void.append(f"only {len(seen.restarts)} restarts")
    left = soak.left
    broken += [
        f"{left.get(name)} {name}"
        for name in ("orphaned leases", "unpublished", "unended")
        if left.get(name, 1) > limits[f"max_{name.replace(' ', '_')}"]
    ]
    figures = {
        "minutes": round(minutes, 1),
        "load_average": os.getloadavg(),
        "judged_after_s": round(settled),
        "rates": {name: round(rate, 1) for name, rate in rates.items()},
        "counts": dict(seen.counts),
        "restarts": seen.restarts,
        "messages": len(seen.ids),
        "messages_doubled": sum(1 for n in seen.ids.values() if n > 1),
        "services": services,
        "left": left,
    }
    return figures, [*broken, *seen.problems], void


def show(figures: dict) -> None:
    print(
        f"\n{figures['minutes']} min; after the last restart from {figures['judged_after_s']} s on:"
    )
    print(f"{'service':<10} {'RSS MiB':>15} {'per hour':>9} {'fds':>9}")
    for name, row in figures["services"].items():
        print(
            f"{name:<10} {row['rss_mib_first']:>7} {row['rss_mib_last']:>7} {row['rss_mib_per_hour']:>+9}"
            f" {row['fds_first']:>4} {row['fds_last']:>4}"
        )
    print("load:", ", ".join(f"{name} {rate}" for name, rate in figures["rates"].items()))
    print("counts:", json.dumps(figures["counts"], sort_keys=True))
    print(
        "restarts:", ", ".join(f"{name} {how} at {at} s" for at, name, how in figures["restarts"])
    )
    print(f"messages {figures['messages']}, of them twice {figures['messages_doubled']}")
    print("left behind:", figures["left"])


def broker_answers() -> bool:
    async def connect() -> None:
        async with await aio_pika.connect(RABBIT, timeout=3):
            pass

    try:
        asyncio.run(connect())
    except (OSError, TimeoutError, aio_pika.exceptions.AMQPError):
        return False
    return True


async def forget(exchange: str, topic: str) -> None:
    async with await aio_pika.connect(RABBIT) as connection:
        channel = await connection.channel()
        for priority in ("info", "warn", "error"):
            await channel.queue_delete(f"{topic}.{priority}")
        await channel.exchange_delete(exchange)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--servers", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/soak.json"))
    options = parser.parse_args()
    topic = f"trimtab-soak-{os.getpid()}" if broker_answers() else None
    extra = ""
    if topic:
        extra = (
            f"[DEFAULT]\ncontrol_exchange = {topic}\n"
            f"[oslo_messaging_notifications]\ndriver = messagingv2\ntopics = {topic}\n"
        )
    with tempfile.TemporaryDirectory(prefix="trimtab-soak-") as folder:
        spec = SystemSpec(
            state_dir=Path(folder),
            ports=ports.free_row(),
            ready_timeout_s=300.0,  # a busy machine
            fakecloud_args=(
                *("--hosts", str(options.hosts), "--servers", str(options.servers)),
                *("--seed", str(options.seed), "--migration-seconds", "0.5"),
                *("--fail-ratio", "0.02"),
            ),
            rabbit_url=RABBIT if topic else None,
            extra_config=extra,
        )
        try:
            with running(spec) as system:
                soak = Soak(system, options.minutes * 60, options.seed, topic)
                asyncio.run(soak.run())
                figures, broken, void = report(soak)
        finally:
            if topic:
                asyncio.run(forget(topic, topic))
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps({**figures, "broken": broken, "void": void}, indent=1))
    show(figures)
    for line in broken:
        print("BROKEN:", line)
    for line in void:
        print("VOID:", line)
    return 2 if void else 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
