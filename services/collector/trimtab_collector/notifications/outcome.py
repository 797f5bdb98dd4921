"""What an event means for a model, whichever model and service it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from trimtab_collector.notifications.envelope import Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an event means.

    servers, hosts: what is to be read again from the cloud: by uuid (servers, volumes, machines)
    and by name (hosts, pools).
    """

    changes: tuple[Any, ...] = ()
    servers: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


NOTHING = Outcome()
HOST = "host "
"""How the keys of elements that are known by name begin; others are known by a bare uuid."""


class EventRule(Protocol):
    """A line of a table of events."""

    @property
    def priority(self) -> str:
        """Events of other priorities are ignored."""
        ...

    @property
    def revives(self) -> bool:
        """Whether it may bring back what was deleted."""
        ...

    @property
    def partial(self) -> bool:
        """Whether it does not say all of its element."""
        ...

    @property
    def at_once(self) -> bool:
        """Whether its changes may not wait for those of later events of the same batch."""
        ...

    def key(self, event: Notification) -> str:
        """Names the element. Malformed."""
        ...

    def handle(self, event: Notification, known: Any, extended: bool) -> Outcome:  # noqa: FBT001, as handlers have it
        """What the event means for what is known. Malformed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """How an event of a third party is read. accepts: whether it is for a publisher id."""

    accepts: Callable[[str], object]
    decode: Callable[[bytes], Notification]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one service speaks to one model.

    publishers: how publisher ids begin. guests: by event type, what other services say of it. key_of: the key of the element that a change is about, None
    for none. uuid_of: the uuid of what a change adds (True) or removes (False); None for others.
    """

    table: Mapping[str, EventRule]
    publishers: tuple[str, ...]
    decode: Callable[[bytes], Notification]
    key_of: Callable[[Any], str | None]
    lives: Callable[[Any], bool | None]
    ignored: frozenset[str] = field(default_factory=frozenset)
    guests: Mapping[str, Guest] = field(default_factory=dict)

    def decoded(self, body: bytes, event_type: str | None) -> Notification:
        """The message, read as its type wants it. Malformed."""
        guest = self.guests.get(event_type or "")
        return (guest.decode if guest is not None else self.decode)(body)

    def accepts(self, event: Notification) -> bool:
        """Whether it is of one who may say such a thing."""
        guest = self.guests.get(event.event_type)
        if guest is not None:
            return bool(guest.accepts(event.publisher_id))
        return event.publisher_id.startswith(self.publishers)
