"""The model stream's ordeal: a cloud in churn, fifty watchers that break off, a collector that is
killed, a log that forgets, readers that are slow; and the six guarantees hold.

`make test` runs the small size. The large one, by hand:
TRIMTAB_STREAM_CHANGES=200000 .venv/bin/python -m pytest tests/robustness/stream -s
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from guarantees import SIX, Promise, Verdict, judge
from histories import Decoder
from stage import HERE, RING, Stage, staged
from watchers import Cut, Progress, Watcher

from trimtab_common.runtime.channels import open_channel
from trimtab_common.wire.replica import ModelReplica

CHANGES = int(os.environ.get("TRIMTAB_STREAM_CHANGES", "20000"))
PER_S = float(os.environ.get("TRIMTAB_STREAM_PER_S", "1000"))
SEED = int(os.environ.get("TRIMTAB_STREAM_SEED", "1"))
LEAST_PER_S = 500.0
WATCHERS = 50
THROUGH_ENVOY = 5
SLOW = 2
REPLICAS = 2
DISCONNECTS = CHANGES // 100
KILLS = max(2, CHANGES // 20_000)
QUIET_S = 2.0
HOSTS, SERVERS = 60, 600
COLLECTOR_MIB = 100.0
"""That the collector may grow by: the log (64 MiB at most) and what gRPC holds for 52 readers."""
SLOW_READER_MIB = 60.0
CUTS = [Cut.AGAIN] * 8 + [Cut.WIRE] * 4 + [Cut.BACK] * 3 + [Cut.MIDDLE] * 3 + [Cut.LATE] * 2

pytestmark = pytest.mark.timeout(120 + CHANGES / 100)


@dataclass(slots=True)
class Figures:
    """What was measured; printed, and judged void or not."""

    per_s: float = 0.0
    changes: int = 0
    made: int = 0
    seconds: float = 0.0
    equal_after_s: float = 0.0
    forgotten: int = 0
    slow_readers: int = 0
    collector_mib: tuple[float, float] = (0.0, 0.0)
    slow_mib: list[tuple[float, float]] = field(default_factory=list)
    cuts: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    cpu_s: dict[str, float] = field(default_factory=dict)


class Ordeal:
    """One run."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.figures = Figures()
        self.progress = Progress()
        self._began = time.monotonic()
        self.watchers: list[Watcher] = []
        self.replicas: list[ModelReplica] = []
        self.slow: list[Path] = []
        self._folder = folder
        self._random = random.Random(SEED)
        self._tasks: list[asyncio.Task[None]] = []
        self._channels = []

    async def start(self) -> None:
        decoder = Decoder()
        for number in range(WATCHERS):
            envoy = number < THROUGH_ENVOY
            name = f"{'envoy' if envoy else 'direct'}-{number}"
            address = self.stage.edge if envoy else self.stage.collector
            self.watchers.append(
                Watcher(name, address, seed=number, decoder=decoder, progress=self.progress)
            )
        for number in range(REPLICAS):
            channel = open_channel((self.stage.edge, self.stage.collector)[number % 2])
            self._channels.append(channel)
            self.replicas.append(ModelReplica(channel, heartbeat_s=1))
        followers = [*self.watchers, *self.replicas]
        self._tasks = [asyncio.create_task(follower.run()) for follower in followers]
        for number in range(SLOW):
            path = self._folder / f"slow-{number}"
            command = (str(HERE / "slow_reader.py"), self.stage.collector, str(path))
            self.stage.start(path.name, sys.executable, *command)
            self.slow.append(path)
        await self.eventually(self.are_equal, 120)
        self.say("all watchers follow")

    def say(self, what: str) -> None:
        """For whoever reads along with -s."""
        passed_s = time.monotonic() - self._began
        sys.stdout.write(f"{passed_s:7.1f} s  {self.progress.streamed:7}  {what}\n")

    async def churn(self) -> None:
        """All of the traffic, with everything that goes wrong meanwhile."""
        before = self.progress.streamed
        await self.stage.ask(churn=PER_S)
        began = time.monotonic()
        watching = asyncio.create_task(self._watch_memory())
        outage_s, cut, killed, died = 0.0, 0, 0, 0
        while (streamed := self.progress.streamed - before) < CHANGES:
            done = streamed / CHANGES
            if done * DISCONNECTS > cut:
                self.watchers[cut % WATCHERS].cut(self._random.choice(CUTS))
                cut += 1
                continue
            if done * 10 > died:
                await self.stage.ask(hosts_die=5)
                died += 1
            if done * KILLS > killed + 0.5:
                outage_s += await self._kill_collector()
                killed += 1
            assert time.monotonic() - began < 200 + CHANGES / 100, self.where()
            await asyncio.sleep(0.01)
        self.figures.changes = streamed
        self.figures.per_s = streamed / (time.monotonic() - began - outage_s)
        self.figures.made = (await self.stage.ask(stop=True))["done"]
        self.progress.over = True
        self.figures.seconds = time.monotonic() - began
        watching.cancel()
        self.say("the traffic ended")

    async def _kill_collector(self) -> float:
        """SIGKILL; the seconds until the next one streams."""
        await self._count_metrics()
        began, epochs = time.monotonic(), self.progress.epochs
        await asyncio.to_thread(self.stage.kill_collector)
        await self.eventually(lambda: self.progress.epochs > epochs, 60)
        self.say(f"the collector was killed, {time.monotonic() - began:.1f} s without")
        return time.monotonic() - began

    async def _watch_memory(self) -> None:
        """The largest growth of any collector process, from 3 s after its start."""
        pid, first, since = 0, 0.0, 0.0
        while True:
            now, mib = self.stage.children["collector"].pid, self.stage.rss_mib("collector")
            if now != pid:
                pid, since, first = now, time.monotonic(), 0.0
            elif time.monotonic() - since > 3.0 and mib:
                first = first or mib
                grown = self.figures.collector_mib
                if mib - first >= grown[1] - grown[0]:
                    self.figures.collector_mib = (first, mib)
            await asyncio.sleep(0.5)

    async def _count_metrics(self) -> None:
        port = int(self.stage.collector.rpartition(":")[2]) + 100
        async with httpx.AsyncClient(trust_env=False) as client:
            with contextlib.suppress(httpx.HTTPError):
                text = (await client.get(f"http://127.0.0.1:{port}/metrics", timeout=5)).text
                for line in text.splitlines():
                    if line.startswith("trimtab_model_forgotten_total"):
                        self.figures.forgotten += int(float(line.split()[1]))
                    if line.startswith("trimtab_model_slow_readers_total"):
                        self.figures.slow_readers += int(float(line.split()[1]))

    async def are_equal(self) -> bool:
        """Whether all watchers hold what the collector holds."""
        try:
            _, digest = await self.stage.digest()
        except Exception:  # noqa: BLE001, the collector may be on its way up
            return False
        own = [watcher.digest for watcher in self.watchers]
        own += [replica.model.digest() for replica in self.replicas if replica.ready]
        return len(own) == WATCHERS + REPLICAS and set(own) == {digest}

    async def is_true(self) -> bool:
        """Whether all watchers hold what the collector holds, and that is what the cloud is."""
        truth = await self.stage.ask(truth=True)
        return held(self.watchers[0]) == truth and await self.are_equal()

    async def come_to_rest(self) -> None:
        """How long after the last change everybody was equal."""
        began = time.monotonic()
        await self.eventually(self.is_true, 60)
        self.figures.equal_after_s = time.monotonic() - began
        self.say("all watchers are equal")
        _, digest = await self.stage.digest()
        for path in self.slow:
            os.kill(self.stage.children[path.name].pid, signal.SIGUSR1)
        slow = [path.with_suffix(".digest") for path in self.slow]
        await self.eventually(lambda: all(path.read_text() == digest for path in slow), 30)

    async def end(self) -> Verdict:
        await self._count_metrics()
        for watcher in self.watchers:
            watcher.stop()
        await asyncio.gather(*self._tasks[:WATCHERS])
        for task in self._tasks[WATCHERS:]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()
        histories = [watcher.history for watcher in self.watchers]
        for path in self.slow:
            os.kill(self.stage.children[path.name].pid, signal.SIGTERM)
            await self.eventually(path.exists, 30)
            told = pickle.loads(path.read_bytes())
            histories.append(told["history"])
            self.figures.ends += told["ends"]
            self.figures.slow_mib.append(told["mib"])
        for watcher in self.watchers:
            self.figures.cuts += watcher.cuts
            self.figures.ends += watcher.ends
        self.figures.kills = self.stage.kills
        self.figures.cpu_s = {name: self.stage.cpu_s(name) for name in self.stage.children}
        return judge(histories, Promise(ring=RING))

    async def eventually(
        self, is_so: Callable[[], Awaitable[bool] | bool], within_s: float
    ) -> None:
        end = time.monotonic() + within_s
        while True:
            answer = is_so()
            if not isinstance(answer, bool):
                answer = await answer
            if answer:
                return
            assert time.monotonic() < end, self.where()
            await asyncio.sleep(0.05)

    def where(self) -> str:
        """Where everybody is, for the message of a failure."""
        places = Counter(watcher.position for watcher in self.watchers)
        return f"not equal in time; watchers at {places.most_common(5)}"


STATES = {1: "active", 2: "building", 3: "paused", 5: "stopped", 12: "error"}


def held(watcher: Watcher) -> dict[str, dict[str, list[object]]]:
    """What a watcher holds, in the words of the cloud."""
    servers, hosts = {}, {}
    for (kind, name), change in watcher.content.rows.items():
        row = change.row
        if kind == "server":
            servers[name] = [row[2], STATES.get(row[4]), row[6]]
        elif kind == "host":
            hosts[name] = [row[5], row[6]]
    return {"servers": servers, "hosts": hosts}


def report(figures: Figures, verdict: Verdict) -> str:
    counts = verdict.counts
    snapshots = {key: n for key, n in sorted(counts.items()) if key.startswith("snapshot")}
    lines = [
        (
            f"changes streamed {figures.changes} at {figures.per_s:.0f}/s (made {figures.made} in "
            f"{figures.seconds:.1f} s), watchers {WATCHERS} "
            f"({THROUGH_ENVOY} through Envoy) + {SLOW} slow + {REPLICAS} replicas"
        ),
        (
            f"disconnects {sum(figures.cuts.values())} {dict(figures.cuts)}, kills {figures.kills}, "
            f"forgotten batches {figures.forgotten}, slow readers told {figures.slow_readers}"
        ),
        (
            f"deltas checked {counts['deltas']}, digests {counts['digests']}, calls {counts['links']}, "
            f"{snapshots}, ends {dict(figures.ends)}"
        ),
        f"equal {figures.equal_after_s:.2f} s after the last change; collector grew "
        f"{figures.collector_mib[0]:.0f} -> {figures.collector_mib[1]:.0f} MiB; slow readers "
        + ", ".join(f"{least:.0f} -> {most:.0f} MiB" for least, most in figures.slow_mib),
        f"CPU s {figures.cpu_s}, watchers' process {time.process_time():.1f}",
        "breaches " + ", ".join(f"{name} {len(verdict.of(name))}" for name in SIX),
    ]
    return "\n".join(lines)


def check_load(figures: Figures, verdict: Verdict) -> None:
    """A run that did not try hard proves nothing."""
    void = []
    if figures.per_s < LEAST_PER_S:
        void.append(f"{figures.per_s:.0f} changes/s, {LEAST_PER_S:.0f} are needed")
    if sum(figures.cuts.values()) < DISCONNECTS * 0.9:
        void.append(f"only {sum(figures.cuts.values())} disconnects")
    if figures.kills < KILLS:
        void.append(f"only {figures.kills} kills")
    if not figures.forgotten:
        void.append("the log forgot nothing")
    if not verdict.counts["snapshot token_too_old"]:
        void.append("no token was too old")
    if not figures.slow_readers:
        void.append("no reader was too slow")
    if void:
        pytest.fail("void: " + "; ".join(void))


@pytest.mark.req("C-118")
async def test_the_six_guarantees_hold_in_the_ordeal(tmp_path, rabbitmq_url, capsys):
    async with staged(tmp_path, rabbitmq_url, hosts=HOSTS, servers=SERVERS) as stage:
        ordeal = Ordeal(stage, tmp_path)
        await ordeal.start()
        await ordeal.churn()
        await ordeal.come_to_rest()
        verdict = await ordeal.end()
    figures = ordeal.figures
    with capsys.disabled():
        sys.stdout.write(f"\n{report(figures, verdict)}\n")
    assert not verdict.breaches, verdict.breaches[:10]
    check_load(figures, verdict)
    assert figures.equal_after_s <= QUIET_S
    assert figures.collector_mib[1] - figures.collector_mib[0] <= COLLECTOR_MIB
    assert all(most - least <= SLOW_READER_MIB for least, most in figures.slow_mib)
