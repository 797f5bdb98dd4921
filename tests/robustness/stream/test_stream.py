"""The model stream's ordeal: a cloud in churn, fifty watchers that break off, a collector that is
killed, a log that forgets, readers that are slow; and the six guarantees hold.

`make test` runs the small size. The large one, by hand:
TRIMTAB_STREAM_CHANGES=200000 .venv/bin/python -m pytest tests/robustness/stream -s
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import pickle
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from figures import (
    COLLECTOR_MIB,
    QUIET_S,
    READER_MIB,
    Figures,
    Section,
    Size,
    shortages,
    table,
)
from guarantees import Promise, Verdict, judge
from histories import Decoder
from stage import HERE, RING, Stage, staged
from watchers import Cut, Progress, Watcher

SIZE = Size.of()
THROUGH_ENVOY = 5
SLOW = 2
REPLICAS = 2
HOSTS, SERVERS = 60, 600
BACK_WITHIN_S = 180.0
"""A dead collector is noticed at once; one on a busy machine may take its time."""
DEATHS_UNTIL = 0.7
"""Only polls tell of hosts that die: the last one has to come before the end."""
CUTS = [Cut.AGAIN] * 8 + [Cut.WIRE] * 4 + [Cut.BACK] * 3 + [Cut.MIDDLE] * 3 + [Cut.LATE] * 2

pytestmark = pytest.mark.timeout(900 + SIZE.changes / 50)


class Ordeal:
    """One run."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.figures = Figures(SIZE, ring=RING)
        self.progress = Progress()
        self._began = time.monotonic()
        self.watchers: list[Watcher] = []
        self.slow: list[Path] = []
        self.replicas: list[Path] = []
        self._folder = folder
        self._random = random.Random(SIZE.seed)
        self._tasks: list[asyncio.Task[None]] = []
        self._next = 0

    async def start(self) -> None:
        decoder = Decoder()
        for number in range(SIZE.watchers):
            envoy = number < THROUGH_ENVOY
            name = f"{'envoy' if envoy else 'direct'}-{number}"
            address = self.stage.edge if envoy else self.stage.collector
            self.watchers.append(
                Watcher(name, address, seed=number, decoder=decoder, progress=self.progress)
            )
        self._tasks = [asyncio.create_task(watcher.run()) for watcher in self.watchers]
        collector = self.stage.collector
        self.slow = [self._reader(f"slow-{n}", "slow_reader.py", collector) for n in range(SLOW)]
        addresses = (self.stage.edge, collector)
        self.replicas = [
            self._reader(f"replica-{n}", "replica_reader.py", addresses[n % 2])
            for n in range(REPLICAS)
        ]
        await self.eventually(self.are_equal, 240)
        self.say("all watchers follow")

    def _reader(self, name: str, script: str, address: str) -> Path:
        """A reader in a process of its own; the file that it leaves."""
        path = self._folder / name
        self.stage.start(name, sys.executable, str(HERE / script), address, str(path))
        return path

    def say(self, what: str) -> None:
        """For whoever reads along with -s."""
        passed_s = time.monotonic() - self._began
        line = f"{passed_s:7.1f} s  {self.progress.streamed:7}  {what}"
        print(line, file=sys.__stdout__, flush=True)  # capsys would keep it until the end

    async def churn(self) -> None:
        """All of the traffic, with everything that goes wrong meanwhile."""
        before, figures = self.progress.streamed, self.figures
        await self.stage.ask(churn=SIZE.per_s)
        began = time.monotonic()
        watching = asyncio.create_task(self._watch_memory())
        cut, died = 0, 0
        section = _Start(self, before)
        while (
            streamed := self.progress.streamed - before
        ) < SIZE.changes or cut < SIZE.disconnects:
            done = streamed / SIZE.changes
            if done * SIZE.disconnects > cut and self._cut_one():
                cut += 1
                continue
            if min(done, DEATHS_UNTIL) * 10 > died:
                await self.stage.ask(hosts_die=5)
                died += 1
            if min(1, done) * SIZE.kills > len(figures.outages_s) + 0.5:
                figures.sections.append(section.end(await self._kill_collector()))
                section = _Start(self, self.progress.streamed)
            assert time.monotonic() - began < 600 + SIZE.changes / 50, self.where()
            await asyncio.sleep(0.01)
        figures.changes = streamed
        figures.seconds = time.monotonic() - began
        figures.sections.append(section.end(0.0))
        stopped = await self.stage.ask(stop=True)
        figures.made, figures.held_back = stopped["done"], stopped["held_back"]
        self.progress.over = True
        watching.cancel()
        self.say("the traffic ended")

    def _cut_one(self) -> bool:
        """The next watcher that can break off does."""
        how = self._random.choice(CUTS)
        for _ in self.watchers:
            self._next += 1
            if self.watchers[self._next % len(self.watchers)].cut(how):
                return True
        return False

    async def _kill_collector(self) -> float:
        """SIGKILL; the seconds until the next one streams."""
        await self._count_metrics()
        began, epochs = time.monotonic(), self.progress.epochs
        await asyncio.to_thread(self.stage.kill_collector)
        await self.eventually(lambda: self.progress.epochs > epochs, BACK_WITHIN_S)
        outage_s = time.monotonic() - began
        self.figures.outages_s.append(outage_s)
        self.say(f"the collector was killed, {outage_s:.1f} s without")
        return outage_s

    async def _watch_memory(self) -> None:
        """The largest growth of any collector process, from its first snapshot on."""
        pid, first, epochs = self.stage.children["collector"].pid, 0.0, 0
        while True:
            now, mib = self.stage.children["collector"].pid, self.stage.rss_mib("collector")
            if now != pid:
                pid, first, epochs = now, 0.0, self.progress.epochs
            elif self.progress.epochs > epochs and mib:
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
                        self.figures.told_slow += int(float(line.split()[1]))

    async def are_equal(self) -> bool:
        """Whether all watchers and replicas hold what the collector holds."""
        try:
            _, digest = await self.stage.digest()
        except Exception:  # noqa: BLE001, the collector may be on its way up
            return False
        own = {watcher.digest for watcher in self.watchers}
        return own | {_digest_of(path) for path in self.replicas} == {digest}

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
        await self.eventually(lambda: {_digest_of(path) for path in self.slow} == {digest}, 30)

    async def end(self) -> Verdict:
        await self._count_metrics()
        for watcher in self.watchers:
            watcher.stop()
        await asyncio.gather(*self._tasks)
        histories = [watcher.history for watcher in self.watchers]
        for path in (*self.slow, *self.replicas):
            os.kill(self.stage.children[path.name].pid, signal.SIGTERM)
            await self.eventually(path.exists, 30)
        for path in self.slow:
            told = pickle.loads(path.read_bytes())
            histories.append(told["history"])
            self.figures.ends += told["ends"]
            self.figures.slow_mib.append(told["mib"])
        for path in self.replicas:
            least, most = json.loads(path.read_text())
            self.figures.replica_mib.append((least, most))
        for watcher in self.watchers:
            self.figures.cuts += watcher.cuts
            self.figures.ends += watcher.ends
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
            self.stage.children["collector"].check()
            assert time.monotonic() < end, self.where()
            await asyncio.sleep(0.05)

    def where(self) -> str:
        """Where everybody is, for the message of a failure."""
        places = Counter(watcher.position for watcher in self.watchers)
        ends = Counter(watcher.history.links[-1].ended for watcher in self.watchers)
        return (
            f"not in time; watchers at {places.most_common(5)}, their last calls ended: {dict(ends)};"
            f" CPU s {self.stage.cpu_s()}; collector:\n{self.stage.children['collector'].tail()}"
        )


class _Start:
    """Where a section of the traffic began."""

    def __init__(self, ordeal: Ordeal, streamed: int) -> None:
        self._ordeal = ordeal
        self._streamed = streamed
        self._at = time.monotonic()
        self._cpu_s = ordeal.stage.cpu_s()

    def end(self, outage_s: float) -> Section:
        """The section until now; the outage at its end is told for itself."""
        used = self._ordeal.stage.cpu_s()
        return Section(
            self._ordeal.progress.streamed - self._streamed,
            time.monotonic() - self._at - outage_s,
            outage_s,
            {name: used_s - self._cpu_s.get(name, 0.0) for name, used_s in used.items()},
        )


def _digest_of(path: Path) -> str:
    """What a reader in another process wrote last."""
    digest = path.with_suffix(".digest")
    return digest.read_text() if digest.exists() else ""


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


@pytest.fixture
def no_collections() -> Iterator[None]:
    """The histories of fifty watchers only grow: to go through them again and again took half of
    this process's time."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.req("C-118")
@pytest.mark.usefixtures("no_collections")
async def test_the_six_guarantees_hold_in_the_ordeal(tmp_path, rabbitmq_url, capsys):
    async with staged(tmp_path, rabbitmq_url, hosts=HOSTS, servers=SERVERS) as stage:
        ordeal = Ordeal(stage, tmp_path)
        await ordeal.start()
        await ordeal.churn()
        await ordeal.come_to_rest()
        verdict = await ordeal.end()
    figures = ordeal.figures
    with capsys.disabled():
        sys.stdout.write(f"\n{table(figures, verdict)}\n")
    assert not verdict.breaches, verdict.breaches[:10]
    if missing := shortages(figures, verdict):
        pytest.fail(f"void: {'; '.join(missing)}")
    assert figures.equal_after_s <= QUIET_S
    assert figures.collector_mib[1] - figures.collector_mib[0] <= COLLECTOR_MIB
    assert all(most - least <= READER_MIB for least, most in figures.slow_mib)
    assert all(most - least <= READER_MIB for least, most in figures.replica_mib)
