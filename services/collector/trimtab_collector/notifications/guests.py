"""Handlers of third parties: other events, of other publishers, into one of our models (C-014).

Found by the entry point `trimtab_notification_handlers`; what it names is a `GuestHandler`, or is called and
gives one. A handler that cannot be loaded, or names an event that the model handles already, is logged and
left out. The topic that its events come on has to be in `notification_topics`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import structlog

from trimtab_collector.notifications.envelope import Notification, plain
from trimtab_collector.notifications.outcome import Dialect, Guest, Outcome

log = structlog.get_logger(__name__)
ENTRY_POINT = "trimtab_notification_handlers"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRule:
    """What one event does. Raise `Malformed` when it does not say what it should.

    handler: pure; gets the event and what is known, gives an Outcome. element: names what the event is about,
    as the model's own rules do (a server by its bare uuid, "host NAME"): events are ordered within it.
    revives: may bring back what was deleted. partial: it does not say all of its element.
    """

    handler: Callable[[Notification, Any], Outcome]
    element: Callable[[Notification], str]
    priority: str = "INFO"
    revives: bool = False
    partial: bool = False
    at_once: bool = True

    def key(self, event: Notification) -> str:
        """Names the element."""
        return self.element(event)

    def handle(self, event: Notification, known: Any, extended: bool) -> Outcome:  # noqa: ARG002, FBT001, as handlers have it
        """What the event means for what is known."""
        return self.handler(event, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestHandler:
    """Rules by event type for the model of this kind.

    publishers: a regular expression that the whole publisher id matches. decode: for payloads with versions,
    `envelope.versioned`; by default the payload is taken as it is.
    """

    model: str
    publishers: str
    events: Mapping[str, GuestRule]
    decode: Callable[[bytes], Notification] = plain


def joined(dialect: Dialect, kind: str, installed: Iterable[EntryPoint] | None = None) -> Dialect:
    """The dialect of a model with the handlers of third parties in it."""
    table, guests = dict(dialect.table), dict(dialect.guests)
    for point in entry_points(group=ENTRY_POINT) if installed is None else installed:
        loaded = _loaded(point)
        if loaded is None or loaded[0].model != kind:
            continue
        handler, guest = loaded
        taken = sorted(handler.events.keys() & (table.keys() | dialect.ignored))
        if taken:
            log.error("these events are handled already", entry_point=point.name, events=taken)
            continue
        table.update(handler.events)
        guests.update(dict.fromkeys(handler.events, guest))
        log.info("events of a third party are handled", model=kind, entry_point=point.name)
    return dataclasses.replace(dialect, table=table, guests=guests)


def _loaded(point: EntryPoint) -> tuple[GuestHandler, Guest] | None:
    try:
        found = point.load()
        handler = found() if callable(found) else found
        accepts = re.compile(handler.publishers).fullmatch
    except Exception:
        log.exception("no notification handler", entry_point=point.name, value=point.value)
        return None
    if not isinstance(handler, GuestHandler):
        log.error("no notification handler", entry_point=point.name, value=point.value)
        return None
    return handler, Guest(accepts=accepts, decode=handler.decode)
