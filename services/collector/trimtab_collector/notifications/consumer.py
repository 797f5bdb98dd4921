"""Consumes the notification queue: connects, binds, hands batches to the inbox, connects again.

A plain connection with a loop of its own, because the exchange of oslo.messaging is not durable: it
is gone when the broker was killed, and has to be made anew by whoever comes first. The queue is this
collector's alone, so that each sees every event (C-050). Whatever was missed while there was no
connection, or when the queue was about to overflow, is made good by a full read of the cloud.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import aio_pika
import structlog
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)
from yarl import URL

from trimtab_collector import counters
from trimtab_collector.notifications.settings import NotificationSettings, Topic
from trimtab_common.runtime.clock import Clock

if TYPE_CHECKING:
    from aio_pika.abc import (
        AbstractChannel,
        AbstractConnection,
        AbstractIncomingMessage,
        AbstractQueue,
    )
    from aiormq.abc import FieldTable

log = structlog.get_logger(__name__)
PREFETCH = 200
_BATCH = 50
_IDLE_TURNS = 4
"""Turns of the loop without a message after which the rest is not waited for: microseconds."""
_CONNECT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 2.0
_STABLE_AFTER_S = 10.0
_BACK_OFF_S = (0.5, 1.0, 2.0, 5.0)
_EXPIRES_MS = 30 * 60 * 1000
_FULL_ENOUGH = 0.8


class Receiver(Protocol):
    """What is fed: an `Inbox`, or a `Mailroom` of several."""

    def connected(self) -> None:
        """The queue is bound from now on."""
        ...

    def disconnected(self) -> None:
        """Nothing comes until further notice."""
        ...

    def ask_resync(self) -> None:
        """Events were lost."""
        ...

    def receive(self, bodies: Iterable[bytes]) -> None:
        """Takes messages, in order; never raises."""
        ...


class Consumer:
    """Feeds an inbox. One task runs `run`."""

    def __init__(self, settings: NotificationSettings, inbox: Receiver, clock: Clock) -> None:
        self._settings = settings
        self._inbox = inbox
        self._clock = clock
        self._failures = 0
        self._attempts = 0
        self._tried = asyncio.Event()

    async def run(self) -> None:
        """Consumes until cancelled, whatever the broker does."""
        while True:
            url = URL(self._settings.urls[self._attempts % len(self._settings.urls)])
            self._attempts += 1
            began = self._clock.monotonic()
            place = f"{url.host}:{url.port}"
            try:
                await self._consume(url)
            except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
                log.warning("no notifications", broker=place, problem=_words(error))
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise
                log.warning("no notifications", broker=place, problem="the connection broke")
            finally:
                self._inbox.disconnected()
                self._tried.set()
            if self._clock.monotonic() - began >= _STABLE_AFTER_S:
                self._failures = 0  # each connect costs a full read: one that flaps has to wait
            wait_s = _BACK_OFF_S[min(self._failures, len(_BACK_OFF_S) - 1)]
            self._failures += 1
            await self._clock.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311, jitter

    async def tried(self) -> None:
        """Returns when the first attempt to connect has succeeded or failed."""
        await self._tried.wait()

    async def _consume(self, url: URL) -> None:
        """Returns, or raises one of CONNECTION_EXCEPTIONS, when the connection is lost."""
        settings = self._settings
        async with self._connection(url) as connection:
            for topic in settings.topics:
                await self._have_exchange(connection, topic)
            channel, queue = await self._have_queue(connection)
            await self._empty_when_too_full(queue)
            await channel.set_qos(prefetch_count=PREFETCH)
            for topic in settings.topics:
                await queue.bind(topic.exchange, topic.routing_key)
            arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            underlay = await channel.get_underlay_channel()
            cancelled = asyncio.Event()
            underlay.on_consumer_cancel_callbacks.add(lambda _frame: cancelled.set())
            await queue.consume(arrived.put, exclusive=True)
            self._inbox.connected()
            self._tried.set()
            log.info("notifications are read", broker=f"{url.host}:{url.port}", queue=queue.name)
            await _first_end(
                self._hand_over(arrived),
                self._watch_depth(connection),
                connection.closed(),
                channel.closed(),
                cancelled.wait(),
            )
        log.warning("the connection to the broker is lost", broker=f"{url.host}:{url.port}")

    @asynccontextmanager
    async def _connection(self, url: URL) -> AsyncIterator[AbstractConnection]:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            connection = await aio_pika.connect(
                url.update_query(heartbeat=str(self._settings.heartbeat_s)),
                client_properties={"connection_name": self._settings.queue},
            )
        try:
            yield connection
        finally:
            with suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await connection.close()

    async def _have_exchange(self, connection: AbstractConnection, topic: Topic) -> None:
        """Makes the exchange when it is not there; as it is when it is there."""
        try:
            async with connection.channel() as channel:
                await channel.declare_exchange(topic.exchange, passive=True)
        except ChannelNotFoundEntity:
            async with connection.channel() as channel:
                await channel.declare_exchange(
                    topic.exchange,
                    aio_pika.ExchangeType.TOPIC,
                    durable=self._settings.durable_exchange,
                )

    async def _have_queue(
        self, connection: AbstractConnection
    ) -> tuple[AbstractChannel, AbstractQueue]:
        """A channel, and the queue; one of other settings is made anew, a full read follows."""
        settings = self._settings
        arguments: FieldTable = {
            "x-expires": _EXPIRES_MS,
            "x-max-length": settings.queue_length,
            "x-queue-type": settings.queue_type,
        }
        channel = await connection.channel(publisher_confirms=False)
        try:
            queue = await channel.declare_queue(settings.queue, durable=True, arguments=arguments)
        except ChannelPreconditionFailed:
            log.info("the queue has other settings and is made anew", queue=settings.queue)
            channel = await connection.channel(publisher_confirms=False)
            await channel.queue_delete(settings.queue)
            queue = await channel.declare_queue(settings.queue, durable=True, arguments=arguments)
        return channel, queue

    async def _hand_over(self, arrived: asyncio.Queue[AbstractIncomingMessage]) -> None:
        while True:
            batch = await _gathered(arrived)
            # Acknowledged first: what cannot be handled must not come again and again. Should this
            # process die now, its successor reads the cloud in full anyway.
            await batch[-1].ack(multiple=True)
            self._inbox.receive([message.body for message in batch])
            await asyncio.sleep(0)

    async def _watch_depth(self, connection: AbstractConnection) -> None:
        """Before the queue overflows it is emptied and the cloud is read in full."""
        async with connection.channel() as channel:
            while True:
                queue = await channel.declare_queue(self._settings.queue, passive=True)
                if await self._empty_when_too_full(queue):
                    self._inbox.ask_resync()
                await self._clock.sleep(self._settings.check_depth_s)

    async def _empty_when_too_full(self, queue: AbstractQueue) -> bool:
        """Whether so much waited that it was thrown away; a full read has to follow."""
        depth = queue.declaration_result.message_count or 0
        counters.NOTIFICATION_QUEUE_DEPTH.set(depth)
        if depth < _FULL_ENOUGH * self._settings.queue_length:
            return False
        log.warning("too far behind, the cloud is to be read in full", waiting=depth)
        await queue.purge()
        return True


async def _gathered(
    arrived: asyncio.Queue[AbstractIncomingMessage],
) -> list[AbstractIncomingMessage]:
    """The next messages, as many as are on their way now, up to a bound.

    The driver takes in a few with each turn of the loop. Who hands over what one turn brought has the
    watchers woken, and each written to, for every few of a long queue.
    """
    batch, idle = [await arrived.get()], 0
    while len(batch) < _BATCH and idle < _IDLE_TURNS:
        if arrived.empty():
            idle += 1
            await asyncio.sleep(0)
        else:
            idle = 0
            batch.append(arrived.get_nowait())
    return batch


async def _first_end(*works: Awaitable[object]) -> None:
    """Returns, or raises, as soon as one of these does; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_cancelled() -> bool:
    """Whether this task is to end. The driver cancels calls, too, when a connection breaks."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _words(error: BaseException) -> str:
    """What went wrong, in one line. The driver's texts hold no URL."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
