"""Takes notifications in and publishes what they change; holds them for reads that are under way.

Sits between the consumer and the live model. While the cloud is read, events go on reaching the
model, so that its watchers never wait, and are kept beside it: those newer than the read are
replayed on what was read before that is compared with the model (C-008). What a poll or a re-read
says of an element that an event touched meanwhile is older than the event and left out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import structlog

from trimtab_collector import counters
from trimtab_collector.live_model import Delta, LiveContent
from trimtab_collector.notifications.envelope import Malformed, Notification, peek
from trimtab_collector.notifications.held import Reading, floor_of
from trimtab_collector.notifications.nova_events import NOVA
from trimtab_collector.notifications.ordering import Ordering, Verdict
from trimtab_collector.notifications.outcome import HOST, Dialect, EventRule, Outcome
from trimtab_collector.reads import FullRead
from trimtab_common.domain.changes import RemoveServer, UpsertServer
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.runtime.clock import Clock

log = structlog.get_logger(__name__)
CAUSE = "notification"
_CLOCKS_DIFFER_BY = timedelta(days=1)
_MESSAGE_ID = re.compile(rb'message_id\\?": ?\\?"([^"\\]{1,64})')


@dataclass(slots=True)
class Wanted:
    """Uuids of servers and names of hosts that Nova is to be asked for."""

    servers: set[str] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, servers: Iterable[str], hosts: Iterable[str]) -> None:
        """Asks for these, soon."""
        self.servers.update(servers)
        self.hosts.update(hosts)
        if self.servers or self.hosts:
            self.asked.set()

    def take(self) -> tuple[set[str], set[str]]:
        """All that is wanted; nothing is afterwards."""
        taken = self.servers, self.hosts
        self.servers, self.hosts = set(), set()
        self.asked.clear()
        return taken


class Inbox:
    """Where notifications arrive. `attention` is set when the sync loop should look again.

    admits: whether what is on the host of this name belongs into the model (C-066).
    """

    def __init__(
        self,
        live: LiveContent[Any],
        clock: Clock,
        *,
        dialect: Dialect = NOVA,
        extended: bool = False,
        admits: Callable[[str], bool] = lambda _hostname: True,
    ) -> None:
        self._live = live
        self.dialect = dialect
        self._extended = extended
        self._admits = admits
        self._ordering = Ordering(clock.monotonic)
        self._clock = clock
        self._latest = ""
        self._readings: set[Reading] = set()
        self._deltas: list[Delta] = []
        self._pending: set[str] = set()
        self._connected = False
        self._heard = False
        self.wanted = Wanted()
        self.attention = asyncio.Event()
        self.resyncs_asked = 0

    @property
    def flowing(self) -> bool:
        """Whether notifications come, so that polls may be rare."""
        return self._connected and self._heard

    def connected(self) -> None:
        """The queue is bound from now on; what came before may have been missed."""
        self._connected = True
        counters.NOTIFICATIONS_CONNECTED.set(1)
        self.ask_resync()

    def disconnected(self) -> None:
        """Nothing comes until further notice."""
        counters.NOTIFICATIONS_CONNECTED.set(0)
        if self._connected:
            self._connected = False
            self.attention.set()

    def ask_resync(self) -> None:
        """Wants the cloud to be read in full, by a read that begins after this."""
        self.resyncs_asked += 1
        self.attention.set()

    def receive(self, bodies: Iterable[bytes]) -> None:
        """Handles messages in order and publishes their changes; no content makes it raise."""
        self._latest = floor_of(self._clock.now() + _CLOCKS_DIFFER_BY)
        for body in bodies:
            event_type = peek(body)
            if event_type is not None and event_type not in self.dialect.table:
                self._heard = True
                counters.NOTIFICATIONS.labels("ignored").inc()
                continue
            try:
                outcome = self._handle(self.dialect.decoded(body, event_type))
            except (Malformed, InvalidArgument) as problem:
                outcome = "malformed"
                found = _MESSAGE_ID.search(body)
                log.warning(
                    "a notification is not understood",
                    event_type=event_type,
                    message_id=found[1].decode("ascii", "replace") if found else None,
                    problem=str(problem),
                )
            except Exception:
                outcome = "malformed"
                log.exception("a notification broke its handler", event_type=event_type)
            counters.NOTIFICATIONS.labels(outcome).inc()
        self._publish()

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Around each read of the cloud: keeps what events say meanwhile."""
        reading = Reading(self.dialect.key_of)
        self._readings.add(reading)
        try:
            yield reading
        finally:
            self._readings.discard(reading)

    def current(self, reading: Reading, changes: Sequence[Any]) -> list[Any]:
        """The changes of a poll or re-read that no event of meanwhile outdates.

        An event of a host tells only a part of it: those that are left out are read again, or sizes that the poll
        brought would be lost.
        """
        outdated = reading.outdated(changes)
        self.wanted.add((), [key.removeprefix(HOST) for key in outdated if key.startswith(HOST)])
        return reading.untouched(changes)

    def replay(self, reading: Reading, read: FullRead) -> FullRead:
        """A full read with the events since its beginning replayed on it."""
        changed, outcomes = reading.replayed(read)
        for outcome in outcomes:
            self.wanted.add(outcome.servers, outcome.hosts)
        return changed

    def read_in_full(self, read: FullRead) -> None:
        """This read is the model now: what is older than its beginning is in it."""
        self._ordering.start_from(floor_of(read.since), read.keys().__contains__)

    def listed(self, changes: Iterable[Any]) -> None:
        """The cloud said this itself: elements live or are gone, whatever was heard."""
        for change in changes:
            lives, key = self.dialect.lives(change), self.dialect.key_of(change)
            if key is None or lives is None:
                continue
            if lives:
                self._ordering.raise_dead(key)
            else:
                self._ordering.bury(key)

    def _handle(self, event: Notification) -> str:
        rule = self.dialect.table.get(event.event_type)
        if rule is None or not self.dialect.accepts(event):
            return "ignored"
        self._heard = True
        if event.priority != rule.priority:
            return "ignored"
        if event.at > self._latest:
            event = replace(event, at="")  # a clock so wrong would make all later events old
        return self._judged(event, rule)

    def _judged(self, event: Notification, rule: EventRule) -> str:
        key = rule.key(event)
        if key in self._pending or rule.at_once:
            self._publish()  # the handler must see what the events before changed
        known = self._live.model
        outcome = rule.handle(event, known, self._extended)  # before judging: it may be malformed
        verdict = self._ordering.judge(key, event, revives=rule.revives, partial=rule.partial)
        if verdict in (Verdict.OLD, Verdict.DEAD):
            log.debug(
                "a late notification is dropped",
                event_type=event.event_type,
                message_id=event.message_id,
            )
            return "late"
        if any(self.dialect.lives(change) is False for change in outcome.changes):
            self._ordering.bury(key, event.at)
        outcome = self._within(outcome, known)
        for reading in self._readings:
            reading.note(key, event, self._handle_on, outcome)
        if not self._live.built:
            return "early"
        self._want(key, outcome, doubted=verdict is Verdict.DOUBTED)
        if outcome.changes:
            self._pending.add(key)
            self._deltas.append(
                Delta(changes=outcome.changes, cause=CAUSE, event_id=event.message_id)
            )
            if rule.at_once:
                self._publish()
        return "applied"

    def _handle_on(self, event: Notification, rows: Any) -> Outcome:
        rule = self.dialect.table[event.event_type]
        return self._within(rule.handle(event, rows, self._extended), rows)

    def _within(self, outcome: Outcome, known: Any) -> Outcome:
        """What is left of an outcome in the part of the cloud that is loaded (C-066)."""
        changes: list[Any] = []
        for change in outcome.changes:
            if not isinstance(change, UpsertServer) or self._admits(change.row.hostname):
                changes.append(change)
            elif known.find_server(change.row.uuid) is not None:
                changes.append(RemoveServer(change.row.uuid))  # it left
        hosts = tuple([name for name in outcome.hosts if self._admits(name)])
        return replace(outcome, changes=tuple(changes), hosts=hosts)

    def _want(self, key: str, outcome: Outcome, *, doubted: bool) -> None:
        servers: Sequence[str] = outcome.servers
        hosts: Sequence[str] = outcome.hosts
        if doubted:
            kind, _, name = key.partition(" ")
            if not name:
                servers = [*servers, key]
            elif kind == HOST.strip():
                hosts = [*hosts, name]
            else:
                self.ask_resync()
        if servers or hosts:
            self.wanted.add(servers, hosts)

    def _publish(self) -> None:
        if self._deltas:
            deltas, self._deltas = self._deltas, []
            self._pending.clear()
            try:
                self._live.publish(deltas)
            except Exception:
                log.exception("changes could not be published, the cloud is to be read in full")
                self.ask_resync()
            self._live.observe()
