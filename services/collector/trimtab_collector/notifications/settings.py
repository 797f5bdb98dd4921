"""Where the notifications come from: operators' options, under the names that they know."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oslo_config import cfg

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.notify.transport import amqp_urls

GROUPS: Mapping[str, Sequence[cfg.Opt]] = {
    "oslo_messaging_notifications": [
        cfg.StrOpt(
            "transport_url",
            secret=True,
            help="RabbitMQ that carries Nova's notifications, as in nova.conf: "
            "rabbit://USER:PASSWORD@HOST:5672/VHOST (more hosts after commas), amqp:// or amqps://. "
            "Unset: none are read, polls alone keep the model.",
        ),
    ],
    "oslo_messaging_rabbit": [
        cfg.BoolOpt(
            "amqp_durable_queues",
            default=False,
            help="Whether Nova's exchange is durable, as in nova.conf; used to make it when it is "
            "not there.",
        ),
    ],
    "watcher_decision_engine": [
        cfg.ListOpt(
            "notification_topics",
            default=["nova.versioned_notifications", "openstack.notifications"],
            help="EXCHANGE.TOPIC of Nova's versioned notifications, of Cinder's, and of Ironic's "
            "(ironic_versioned_notifications).",
        ),
    ],
    "collector": [
        cfg.StrOpt(
            "notification_queue",
            help="Name of this collector's own queue. No two collectors may share one. Default: "
            "made of host, port and exchange.",
        ),
        cfg.IntOpt(
            "notification_queue_length",
            default=50_000,
            min=100,
            help="Messages that the queue holds at most; at 80 % the cloud is read in full.",
        ),
        cfg.StrOpt("notification_queue_type", default="classic", choices=["classic", "quorum"]),
        cfg.FloatOpt(
            "quiet_poll_interval",
            default=30.0,
            min=0.1,
            max=60.0,
            help="Seconds between two looks at what changed while notifications flow.",
        ),
    ],
}
_DEFAULT_EXCHANGE = "nova"


@dataclass(frozen=True, slots=True)
class Topic:
    """An exchange and the topic that routing keys in it begin with."""

    exchange: str
    topic: str

    @property
    def routing_key(self) -> str:
        """All priorities."""
        return f"{self.topic}.*"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSettings:
    """How to reach the bus. urls: AMQP URLs with secrets, tried in turn; queue_length: its bound."""

    urls: tuple[str, ...] = field(repr=False)
    queue: str
    topics: tuple[Topic, ...] = (Topic(_DEFAULT_EXCHANGE, "versioned_notifications"),)
    queue_length: int = 50_000
    queue_type: str = "classic"
    durable_exchange: bool = False
    heartbeat_s: int = 10
    check_depth_s: float = 5.0

    @classmethod
    def from_conf(
        cls, conf: cfg.ConfigOpts, *, host: str, address: str
    ) -> NotificationSettings | None:
        """Frozen from the parsed files; None when no URL is set. InvalidArgument."""
        url = conf.oslo_messaging_notifications.transport_url
        if not url:
            return None
        topics = tuple(_topic(text) for text in conf.watcher_decision_engine.notification_topics)
        if not topics:
            raise InvalidArgument("notification_topics is empty, but a transport_url is set.")
        port = address.rpartition(":")[2]
        place = secrets.token_hex(4) if port in ("", "0") else port
        own = f"trimtab-collector.{host}.{place}.{topics[0].exchange}"
        return cls(
            urls=amqp_urls(url),
            queue=conf.collector.notification_queue or own,
            topics=topics,
            queue_length=conf.collector.notification_queue_length,
            queue_type=conf.collector.notification_queue_type,
            durable_exchange=conf.oslo_messaging_rabbit.amqp_durable_queues,
        )


def _topic(text: str) -> Topic:
    exchange, dot, topic = text.strip().partition(".")
    return Topic(exchange, topic) if dot and exchange and topic else Topic(_DEFAULT_EXCHANGE, text)
