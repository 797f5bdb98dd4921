"""The ways a notification leaves: RabbitMQ in oslo.messaging's wire form, or the log.

On the main path: the publisher hands over one message after the other and goes on when the broker
has confirmed. What a consumer of Watcher's notifications expects is kept: a topic exchange, the
routing key TOPIC.PRIORITY, a queue of that name which holds messages until somebody comes for
them, the double JSON of `messagingv2` (C-052).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
import structlog

from trimtab_api.outbox.settings import OutboxSettings
from trimtab_common.domain.errors import Unavailable

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection, AbstractExchange

log = structlog.get_logger(__name__)
_CONNECT_TIMEOUT_S = 10.0
_SEND_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 2.0


class LogBus:
    """Writes messages to this service's log."""

    async def send(self, message: Mapping[str, Any]) -> None:
        """Returns at once."""
        log.info("notification", **message)

    async def close(self) -> None:
        """Nothing to give back."""


class AmqpBus:
    """One connection to the first broker that answers, made again when it is lost."""

    def __init__(self, settings: OutboxSettings, *, has_envelope: bool = True) -> None:
        self._settings = settings
        self._has_envelope = has_envelope
        self._attempts = 0
        self._connecting = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._queues: set[str] = set()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Returns when the broker has confirmed it for every topic. Unavailable when it does not."""
        # The driver costs 0.15 s to import: only who sends pays.
        from aio_pika import DeliveryMode, Message  # noqa: PLC0415, see above
        from aio_pika.exceptions import CONNECTION_EXCEPTIONS  # noqa: PLC0415, see above

        body = self._body(message)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S + _SEND_TIMEOUT_S):
                for topic in self._settings.topics:
                    key = f"{topic}.{message['priority'].lower()}"
                    exchange = await self._ready(key)
                    await exchange.publish(
                        Message(
                            body,
                            content_type="application/json",
                            content_encoding="utf-8",
                            delivery_mode=DeliveryMode.PERSISTENT,
                            message_id=message["message_id"],
                        ),
                        routing_key=key,
                        mandatory=True,
                        timeout=_SEND_TIMEOUT_S,
                    )
        except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
            await self.close()
            words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise Unavailable(f"The message bus did not take a notification: {words}") from None
        except asyncio.CancelledError:
            await self.close()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unavailable("The connection to the message bus broke.") from None

    async def close(self) -> None:
        """Gives the connection back; the next message makes another."""
        connection, self._connection, self._exchange = self._connection, None, None
        self._queues.clear()
        if connection is None:
            return
        from aio_pika.exceptions import CONNECTION_EXCEPTIONS  # noqa: PLC0415, as above

        with suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await connection.close()

    def _body(self, message: Mapping[str, Any]) -> bytes:
        inner = {**message, "_unique_id": uuid4().hex} if self._has_envelope else message
        text = orjson.dumps(inner)
        if not self._has_envelope:
            return text
        return orjson.dumps({"oslo.version": "2.0", "oslo.message": text.decode()})

    async def _ready(self, key: str) -> AbstractExchange:
        """The exchange, with a queue for `key` bound to it."""
        async with self._connecting:
            if self._exchange is None or self._connection is None or self._connection.is_closed:
                await self._connect()
            exchange = self._exchange
            if exchange is None or self._connection is None:
                raise Unavailable("The connection to the message bus broke.")
            if key not in self._queues:
                await self._have_queue(self._connection, key)
                self._queues.add(key)
            return exchange

    async def _connect(self) -> None:
        import aio_pika  # noqa: PLC0415, as above
        from yarl import URL  # noqa: PLC0415, as above

        self._queues.clear()
        urls = self._settings.urls
        url = URL(urls[self._attempts % len(urls)])
        self._attempts += 1
        connection = await aio_pika.connect(
            url.update_query(heartbeat=str(self._settings.heartbeat_s)),
            timeout=_CONNECT_TIMEOUT_S,
            client_properties={"connection_name": "trimtab-api outbox"},
        )
        self._connection = connection
        await self._have_exchange(connection)
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._exchange = await channel.get_exchange(self._settings.exchange, ensure=False)
        log.info("notifications are sent", broker=f"{url.host}:{url.port}")

    async def _have_exchange(self, connection: AbstractConnection) -> None:
        """Makes the exchange when it is not there; as it is when it is there."""
        from aio_pika import ExchangeType  # noqa: PLC0415, as above
        from aio_pika.exceptions import ChannelNotFoundEntity  # noqa: PLC0415, as above

        name = self._settings.exchange
        try:
            async with connection.channel() as channel:
                await channel.declare_exchange(name, passive=True)
        except ChannelNotFoundEntity:
            async with connection.channel() as channel:
                await channel.declare_exchange(
                    name, ExchangeType.TOPIC, durable=self._settings.durable
                )

    async def _have_queue(self, connection: AbstractConnection, key: str) -> None:
        """A queue named like the routing key, so that nothing is lost while nobody listens."""
        from aio_pika.exceptions import ChannelNotFoundEntity  # noqa: PLC0415, as above

        try:
            async with connection.channel() as channel:
                queue = await channel.declare_queue(key, passive=True)
                await queue.bind(self._settings.exchange, key)
        except ChannelNotFoundEntity:
            async with connection.channel() as channel:
                queue = await channel.declare_queue(key, durable=self._settings.durable)
                await queue.bind(self._settings.exchange, key)


class Buses:
    """Every driver that the operator named; a message is sent when all of them have it."""

    def __init__(self, buses: tuple[AmqpBus | LogBus, ...]) -> None:
        self._buses = buses

    async def send(self, message: Mapping[str, Any]) -> None:
        """Unavailable when one of them did not take it."""
        for bus in self._buses:
            await bus.send(message)

    async def close(self) -> None:
        """Closes all."""
        for bus in self._buses:
            await bus.close()


def make_buses(settings: OutboxSettings) -> Buses | None:
    """None when nothing is to be sent."""
    makers: dict[str, Callable[[], AmqpBus | LogBus]] = {
        "messagingv2": lambda: AmqpBus(settings),
        "messaging": lambda: AmqpBus(settings, has_envelope=False),
        "log": LogBus,
    }
    buses = tuple(makers[name]() for name in settings.drivers if name in makers)
    return Buses(buses) if buses else None
