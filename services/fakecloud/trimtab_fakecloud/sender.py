"""Carries notifications to RabbitMQ in oslo.messaging's envelope."""

import asyncio
from contextlib import suppress
from typing import Any

import aio_pika
import orjson
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

_BATCH = 100
Message = dict[str, Any]


class Sender:
    """Carries messages to an exchange, in order; through a lost connection too, up to a bound.

    After such a loss some may come twice, under their old ids, as from the real Nova.

    The exchange is made as oslo.messaging makes it: a topic, not durable.
    """

    def __init__(self, url: str, exchange: str) -> None:
        self._url = "amqp" + url.removeprefix("rabbit").removeprefix("amqp")
        self._exchange = exchange
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(100_000)
        self._running: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Messages that the broker was not given yet."""
        return self._waiting.qsize()

    async def start(self) -> None:
        """Connect.

        Raises:
            OSError: the broker does not answer, or refuses.
        """
        try:
            connection = await asyncio.wait_for(aio_pika.connect(self._url), 10)
        except CONNECTION_EXCEPTIONS as error:
            raise OSError(f"no RabbitMQ for notifications: {type(error).__name__}") from None
        self._running = asyncio.create_task(self._run(connection))

    def send(self, routing_key: str, message: Message) -> None:
        """Send soon; what is too much is dropped."""
        body = {"oslo.version": "2.0", "oslo.message": orjson.dumps(message).decode()}
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait((routing_key, orjson.dumps(body)))

    async def close(self) -> None:
        """Send what waits, for a moment, and disconnect."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), 2)
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self, connection: aio_pika.abc.AbstractConnection | None) -> None:
        unsent: list[tuple[str, bytes]] = []
        while True:
            try:
                connection = connection or await aio_pika.connect(self._url)
                async with connection:
                    channel = await connection.channel()
                    exchange = await channel.declare_exchange(
                        self._exchange, aio_pika.ExchangeType.TOPIC
                    )
                    while True:
                        unsent = unsent or await self._next()
                        await asyncio.gather(
                            *(
                                exchange.publish(_amqp(body), key, mandatory=False)
                                for key, body in unsent
                            )
                        )
                        for _ in unsent:
                            self._waiting.task_done()
                        unsent = []
            except CONNECTION_EXCEPTIONS:
                connection = None
                await asyncio.sleep(0.5)

    async def _next(self) -> list[tuple[str, bytes]]:
        """What waits, as much as the broker is to confirm at once; its fsync takes a while."""
        batch = [await self._waiting.get()]
        while len(batch) < _BATCH and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
        return batch


def _amqp(body: bytes) -> aio_pika.Message:
    return aio_pika.Message(
        body,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        priority=0,
    )
