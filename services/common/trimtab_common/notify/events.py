"""One notification as the outbox keeps it, and how it is sent (requirements A §8).

On the main path: every save makes an Event inside its transaction; the publisher of `api` turns
outbox rows into envelopes and hands them to a Notifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from trimtab_common.domain.records import OutboxEntry

NAMESPACE = "infra-optim"


class Priority(StrEnum):
    """Watcher's priorities; WARN only ever comes with service.update and scope.warning."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


_ORDER = {
    "debug": 0,
    "info": 1,
    "warn": 2,
    "warning": 2,
    "error": 3,
    "critical": 4,
}
LEVELS = ("", "debug", "info", "warning", "error", "critical")
"""What `notification_level` may be; empty sends nothing."""


def is_enabled(priority: str, *, level: str) -> bool:
    """Whether an event of this priority is sent at this notification_level (A-119)."""
    return bool(level) and _ORDER[priority.lower()] >= _ORDER[level.lower()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A notification before it is stored. `payload` is the whole wrapped object.

    is_for_bus: False for what only those hear who watch over gRPC.
    """

    event_type: str
    object_uuid: str
    payload: Mapping[str, Any]
    priority: Priority = Priority.INFO
    is_for_bus: bool = True


def envelope(entry: OutboxEntry) -> dict[str, Any]:
    """The message of an outbox row (A-118). The row's uuid is the message_id."""
    return {
        "event_type": entry.event_type,
        "publisher_id": f"{NAMESPACE}:{entry.publisher}",
        "priority": entry.priority,
        "timestamp": entry.created_at.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "message_id": entry.uuid,
        "payload": entry.payload,
    }


class Notifier(Protocol):
    """Sends messages to the bus, in order."""

    async def send(self, message: Mapping[str, Any]) -> None:
        """Returns when the bus has confirmed. Unavailable when it does not."""
        ...
