"""A subscriber of both models, as decision is one, that knows when the cloud said what it is told.

Nova and Cinder write into each notification when they made it; a delta carries the notification's
id. Beside the subscriber a tap of its own on the broker reads the same notifications, so that for
each delta there is the time from the cloud's act to the subscriber. All on one machine: one clock.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import grpc.aio
from real_cloud import eventually

from trimtab.model.v1 import model_pb2
from trimtab_cli.system import System
from trimtab_collector.notifications.consumer import Consumer
from trimtab_collector.notifications.envelope import Malformed, plain
from trimtab_collector.notifications.settings import NotificationSettings, Topic
from trimtab_common.runtime.channels import OPTIONS
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.wire.replica import ElementReplica, ModelReplica

TOPICS = (Topic("nova", "versioned_notifications"), Topic("cinder", "notifications"))


class Subscriber:
    """What came, since it began. Read it when it has ended."""

    def __init__(self, address: str, broker: str) -> None:
        self._address = address
        self._broker = broker
        self._said: dict[str, float] = {}
        self._told: list[tuple[float, str, str]] = []
        self._states: dict[str, str] = {}
        self._end = threading.Event()
        self.snapshots: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.digests: dict[str, str] = {}
        self.ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self) -> None:
        """Returns when it has both models."""
        self._thread.start()
        eventually(self.ready.is_set, "the subscriber has both models", 60)

    def stop(self) -> None:
        """Ends it."""
        self._end.set()
        self._thread.join(20)

    def state_of(self, server: str) -> str:
        """The state of a server as last told, "" when nothing was."""
        return self._states.get(server, "")

    def delays(self, outages: Iterable[tuple[float, float]] = ()) -> list[float]:
        """Seconds from the cloud's act to the delta here, sorted; without acts during outages of
        the broker (beginning, end): what was told then waited for it.
        """
        away = list(outages)
        found = [
            at - self._said[event]
            for at, event, _ in self._told
            if event in self._said
            and not any(begin <= self._said[event] <= end for begin, end in away)
        ]
        return sorted(found)

    def await_digest(self, kind: str, wanted: Callable[[], str], limit_s: float = 60.0) -> None:
        """Waits until the copy here has the content that collector has."""
        eventually(
            lambda: self.digests.get(kind) == wanted(),
            f"the subscriber's {kind} model equals collector's",
            limit_s,
        )

    async def _run(self) -> None:
        async with grpc.aio.insecure_channel(self._address, options=OPTIONS) as channel:
            replicas: dict[str, Any] = {
                "compute": ModelReplica(channel, **self._hooks("compute")),
                "storage": ElementReplica(channel, kind="storage", **self._hooks("storage")),
            }
            tasks = [asyncio.create_task(replica.run()) for replica in replicas.values()]
            tasks.append(asyncio.create_task(self._tap().run()))
            try:
                for replica in replicas.values():
                    await replica.wait_ready(60)
                self.ready.set()
                while not self._end.is_set():
                    self.digests = {name: r.model.digest() for name, r in replicas.items()}
                    await asyncio.sleep(0.5)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _hooks(self, kind: str) -> Mapping[str, Any]:
        def told(delta: Any) -> None:
            self._told.append((time.time(), delta.event_id, delta.cause))
            self.causes[delta.cause] += 1
            for change in delta.changes:
                if change.HasField("upsert_server"):
                    row = change.upsert_server
                    self._states[row.uuid] = model_pb2.ServerState.Name(row.state)

        def began(begin: Any) -> None:
            self.snapshots[f"{kind}: {begin.reason}"] += 1

        return {"on_delta": told, "on_snapshot": began}

    # -- the tap: what a Consumer feeds ---------------------------------------------------------

    def connected(self) -> None:
        """Nothing to do."""

    disconnected = ask_resync = connected

    def receive(self, bodies: Iterable[bytes]) -> None:
        """Notes when the cloud made each notification."""
        for body in bodies:
            with suppress(Malformed):
                event = plain(body)
                if event.message_id and event.at:
                    at = datetime.fromisoformat(event.at).replace(tzinfo=UTC)
                    self._said[event.message_id] = at.timestamp()

    def _tap(self) -> Consumer:
        settings = NotificationSettings(
            urls=(self._broker,), queue=f"tt-tap-{time.time_ns()}", topics=TOPICS
        )
        return Consumer(settings, self, SystemClock())


@contextmanager
def subscribed(system: System, broker: str) -> Iterator[Subscriber]:
    """A subscriber at collector's own door. broker: an AMQP URL of what carries notifications."""
    url = broker.replace("rabbit://", "amqp://")
    subscriber = Subscriber(system.ports.address("collector"), url)
    subscriber.start()
    try:
        yield subscriber
    finally:
        subscriber.stop()


def quantiles(seconds: list[float]) -> str:
    """How many, p50, p99 and the worst, of what is sorted."""
    if not seconds:
        return "none"

    def at(part: float) -> float:
        return seconds[math.ceil(part * len(seconds)) - 1] * 1000

    return f"{len(seconds)}: p50 {at(0.5):.0f} ms, p99 {at(0.99):.0f} ms, worst {at(1):.0f} ms"
