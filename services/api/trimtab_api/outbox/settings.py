"""Where our notifications go: operators' options, under the names that they know (A-120)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oslo_config import cfg

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.notify.transport import amqp_urls

DRIVERS = ("messagingv2", "messaging", "log", "noop")
GROUPS: Mapping[str, Sequence[cfg.Opt]] = {
    "DEFAULT": [
        cfg.StrOpt(
            "transport_url",
            secret=True,
            help="The message bus, for what [oslo_messaging_notifications]transport_url leaves out.",
        ),
        cfg.StrOpt(
            "control_exchange",
            default="watcher",
            help="The exchange that our notifications are sent to.",
        ),
    ],
    "oslo_messaging_notifications": [
        cfg.MultiStrOpt(
            "driver",
            default=[],
            help="How our notifications are sent: messagingv2, messaging (without the envelope), "
            "log, noop. None: they are not sent.",
        ),
        cfg.StrOpt(
            "transport_url",
            secret=True,
            help="RabbitMQ that carries notifications: rabbit://USER:PASSWORD@HOST:5672/VHOST "
            "(more hosts after commas), amqp:// or amqps://.",
        ),
        cfg.ListOpt(
            "topics",
            default=["notifications"],
            help="Each message is sent to each of these; the routing key is TOPIC.PRIORITY.",
        ),
    ],
    "oslo_messaging_rabbit": [
        cfg.BoolOpt(
            "amqp_durable_queues",
            default=False,
            help="Whether the exchange and the queues are durable when we have to make them.",
        ),
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSettings:
    """How our notifications leave. urls: AMQP URLs with secrets, tried in turn."""

    drivers: tuple[str, ...] = ()
    urls: tuple[str, ...] = field(default=(), repr=False)
    exchange: str = "watcher"
    topics: tuple[str, ...] = ("notifications",)
    durable: bool = False
    heartbeat_s: int = 10

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> OutboxSettings:
        """Frozen from the parsed files. InvalidArgument says which option is wrong."""
        group = conf.oslo_messaging_notifications
        drivers = tuple(dict.fromkeys(name for name in group.driver if name))
        for name in drivers:
            if name not in DRIVERS:
                raise InvalidArgument(
                    f"[oslo_messaging_notifications]driver = {name!r} is not known; "
                    f"use one of {', '.join(DRIVERS)}."
                )
        needs_bus = any(name.startswith("messaging") for name in drivers)
        url = group.transport_url or conf.transport_url
        if needs_bus and not url:
            raise InvalidArgument(
                f"[oslo_messaging_notifications]driver = {drivers[0]} needs a transport_url: "
                "rabbit://USER:PASSWORD@HOST:5672/VHOST."
            )
        topics = tuple(topic.strip() for topic in group.topics if topic.strip())
        if needs_bus and not topics:
            raise InvalidArgument("[oslo_messaging_notifications]topics is empty.")
        return cls(
            drivers=drivers,
            urls=amqp_urls(url) if needs_bus else (),
            exchange=conf.control_exchange,
            topics=topics,
            durable=conf.oslo_messaging_rabbit.amqp_durable_queues,
        )
