"""What came from the bus, unwrapped: first a peek at the event type, then the whole message.

On the wire oslo.messaging wraps the message, as JSON text, in JSON (C-052); bare JSON is understood
too. The peek costs under a microsecond, so that what nobody wants is never parsed (C-013).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

# Users name their servers: what they write is escaped once more, and must not pass for a key.
_ENVELOPED = re.compile(rb'(?<!\\)\\"event_type\\": ?\\"([^"\\]{1,200})\\"')
_BARE = re.compile(rb'(?<!\\)"event_type": ?"([^"\\]{1,200})"')
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})?")
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
    """A versioned notification of Nova. Malformed: it is none, or of a version that is not known."""
    return versioned(body, "nova", _MAJOR_VERSIONS)


def versioned(body: bytes, namespace: str, majors: Mapping[str, str]) -> Notification:
    """A versioned notification of this service. Malformed.

    majors: the major version that is known, by name of the payload; "1" for others.
    """
    notification = plain(body)
    payload = notification.data
    try:
        name = str(payload[f"{namespace}_object.name"])
        found = payload[f"{namespace}_object.namespace"]
        version = _text(payload[f"{namespace}_object.version"])
        data = payload[f"{namespace}_object.data"]
    except (KeyError, TypeError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None
    if found != namespace or version.split(".")[0] != majors.get(name, "1"):
        raise Malformed(f"{found}'s {name} {version} is not known")
    if not isinstance(data, dict):
        raise Malformed("the payload has no fields")
    return replace(notification, data=data)


def plain(body: bytes) -> Notification:
    """A notification whose payload has no version, as Cinder sends them. Malformed.

    The backend that publisher ids of Cinder end with is left out: clocks belong to hosts.
    """
    try:
        message = orjson.loads(body)
        if "oslo.message" in message:
            message = orjson.loads(message["oslo.message"])
        data = message["payload"]
        notification = Notification(
            event_type=_text(message["event_type"]),
            publisher_id=_text(message["publisher_id"]).partition("@")[0],
            priority=_text(message["priority"]),
            message_id=_text(message.get("message_id") or ""),
            at=time_text(message.get("timestamp") or ""),
            data=data,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"{type(error).__name__}: {error}") from None
    if not isinstance(data, dict):
        raise Malformed("the payload has no fields")
    return notification


def time_text(text: str) -> str:
    """A time as oslo writes it ("2026-11-22 07:15:08.746451", UTC), whichever form it had.

    ValueError when it is no time: it would put what comes after it in a wrong order.
    """
    text = text.replace("T", " ").removesuffix("Z").removesuffix("+00:00")
    if text and _TIME.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no time")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError(f"{value!r} is no text")
    return value
