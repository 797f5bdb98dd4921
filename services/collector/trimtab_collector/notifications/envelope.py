"""What came from the bus, unwrapped: first a peek at the event type, then the whole message.

On the wire oslo.messaging wraps the message, as JSON text, in JSON (C-052); bare JSON is understood
too. The peek costs under a microsecond, so that what nobody wants is never parsed (C-013).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

# Users name their servers: what they write is escaped once more, and must not pass for a key.
_ENVELOPED = re.compile(rb'(?<!\\)\\"event_type\\": ?\\"([^"\\]{1,200})\\"')
_BARE = re.compile(rb'(?<!\\)"event_type": ?"([^"\\]{1,200})"')
_ENVELOPE = b'"oslo.message"'
_PEEK_BYTES = 1024
_MAJOR_VERSIONS = {"InstanceUpdatePayload": "2", "InstanceExistsPayload": "2"}


class Malformed(Exception):
    """A message that is not what Nova promises; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One event. `data`: the payload's fields; `at`: Nova's time as text, "" unknown.

    The text is of one form, so that later times are greater texts.
    """

    event_type: str
    publisher_id: str
    priority: str
    message_id: str
    at: str
    data: Mapping[str, Any]


def peek(body: bytes) -> str | None:
    """The event type, without parsing; None when it is not near the beginning."""
    form = _ENVELOPED if body.find(_ENVELOPE, 0, _PEEK_BYTES) >= 0 else _BARE
    found = form.search(body, 0, _PEEK_BYTES)
    return found[1].decode("ascii", "replace") if found else None


def decode(body: bytes) -> Notification:
    """The whole message. Malformed: it is no notification, or of a version that is not known."""
    try:
        message = orjson.loads(body)
        if "oslo.message" in message:
            message = orjson.loads(message["oslo.message"])
        payload = message["payload"]
        name, version = payload["nova_object.name"], payload["nova_object.version"]
        namespace, data = payload["nova_object.namespace"], payload["nova_object.data"]
        notification = Notification(
            event_type=message["event_type"],
            publisher_id=message["publisher_id"],
            priority=message["priority"],
            message_id=message.get("message_id") or "",
            at=time_text(message.get("timestamp") or ""),
            data=data,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None
    if namespace != "nova" or version.split(".")[0] != _MAJOR_VERSIONS.get(name, "1"):
        raise Malformed(f"{namespace}'s {name} {version} is not known")
    if not isinstance(data, dict):
        raise Malformed("the payload has no fields")
    return notification


def time_text(text: str) -> str:
    """A time as oslo writes it ("2026-11-22 07:15:08.746451", UTC), whichever form it had."""
    return text.replace("T", " ").removesuffix("Z").removesuffix("+00:00")
