"""The six guarantees of the model stream, judged over what watchers were told.

ordered: revisions only grow within a call; unique: no revision comes twice in a call; reliable: none
is left out, across calls too; atomic: a revision is the same whole for everybody, and a snapshot
shows exactly one; resumable: a token continues where its message ended, or a snapshot says truly why
not; bookmarkable: a heartbeat's position has all before it and nothing of it after, and its digest
is that of the content. In spirit etcd's robustness tests (validate/watch.go); the code is our own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from histories import Event, History, Link, Message

ORDERED, UNIQUE, ATOMIC = "ordered", "unique", "atomic"
RELIABLE, RESUMABLE, BOOKMARKABLE = "reliable", "resumable", "bookmarkable"
SIX = (ORDERED, UNIQUE, ATOMIC, RELIABLE, RESUMABLE, BOOKMARKABLE)
Position = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that was not kept."""

    guarantee: str
    watcher: str
    what: str


@dataclass(slots=True)
class Verdict:
    """What came out, with what was looked at."""

    breaches: list[Breach] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def of(self, guarantee: str) -> list[Breach]:
        return [breach for breach in self.breaches if breach.guarantee == guarantee]


@dataclass(frozen=True, slots=True)
class Promise:
    """What the collector under test says of itself. ring: deltas that it keeps at least."""

    ring: int


def judge(histories: Iterable[History], promise: Promise) -> Verdict:
    """Every breach in these histories."""
    verdict, common = Verdict(), _Common()
    for history in histories:
        judge = _Judge(history.name, promise, common, verdict)
        for link in history.links:
            judge.link(link)
    return verdict


class _Common:
    """What all watchers must agree on."""

    def __init__(self) -> None:
        self.fingerprints: dict[Position, bytes] = {}
        self.digests: dict[Position, str] = {}


class _Judge:
    """Walks through the history of one watcher."""

    def __init__(self, name: str, promise: Promise, common: _Common, verdict: Verdict) -> None:
        self._name = name
        self._promise = promise
        self._common = common
        self._verdict = verdict
        self._positions: dict[str, Position | None] = {}  # None: inside a snapshot

    def link(self, link: Link) -> None:
        self._verdict.counts["links"] += 1
        at = self._start(link)
        events = iter(link.events)
        first = True
        for event in events:
            message = event.message
            if message.kind == "begin":
                at = self._snapshot(event, events, link, at, first=first)
                if at is None:
                    return  # cut in the middle
            elif message.kind == "deltas":
                at = self._deltas(message, at, first=first, of_token=bool(link.token))
            elif message.kind == "beat":
                self._beat(event, at)
            else:
                self._breach(ATOMIC, f"a lone {message.kind} outside of a snapshot")
            if at is not None and message.kind != "begin":
                self._positions[message.token] = at
            first = False

    def _start(self, link: Link) -> Position | None:
        """Where the call must go on; None: it must begin with a snapshot."""
        if not link.token:
            return None
        if link.token not in self._positions:
            self._breach(RESUMABLE, f"no message had the token {link.token}")
        return self._positions.get(link.token)

    def _deltas(
        self, message: Message, at: Position | None, *, first: bool, of_token: bool
    ) -> Position | None:
        if at is None:
            self._breach(RELIABLE, f"a delta {message.revision} without a snapshot before it")
            return (message.epoch, message.revision)
        epoch, revision = at
        if message.epoch != epoch:
            self._breach(RELIABLE, f"deltas of epoch {message.epoch} after {epoch}")
            return (message.epoch, message.revision)
        for delta in message.deltas:
            self._verdict.counts["deltas"] += 1
            if delta.revision == revision:
                self._breach(UNIQUE, f"revision {revision} came again")
            elif delta.revision < revision:
                self._breach(ORDERED, f"revision {delta.revision} came after {revision}")
            elif delta.revision != revision + 1:
                guarantee = RESUMABLE if first and of_token else RELIABLE
                self._breach(guarantee, f"revision {delta.revision} came after {revision}")
            known = self._common.fingerprints.setdefault((epoch, delta.revision), delta.fingerprint)
            if known != delta.fingerprint:
                self._breach(ATOMIC, f"revision {delta.revision} is not what others were told")
            revision = delta.revision
        return (epoch, revision)

    def _snapshot(
        self,
        begin: Event,
        events: Iterator[Event],
        link: Link,
        at: Position | None,
        *,
        first: bool,
    ) -> Position | None:
        head = begin.message
        self._verdict.counts[f"snapshot {head.reason}"] += 1
        self._check_reason(head, link, at, first=first)
        self._positions[head.token] = None
        for event in events:
            message = event.message
            if message.kind == "chunk":
                self._positions[message.token] = None
                continue
            if message.kind != "end":
                self._breach(ATOMIC, f"a message of kind {message.kind} inside of a snapshot")
                return None
            if (message.epoch, message.revision) != (head.epoch, head.revision):
                self._breach(ATOMIC, "a snapshot ends at another position than it began")
            announced = head.hosts + head.servers + head.groups
            if event.own_rows != announced:
                self._breach(ATOMIC, f"a snapshot of {event.own_rows} rows said {announced}")
            position = (message.epoch, message.revision)
            self._positions[message.token] = position
            self._check_digest(event, position, ATOMIC)
            return position
        if link.ended in ("", "EOF"):
            self._breach(ATOMIC, "a stream ended in the middle of a snapshot")
        return None

    def _check_reason(self, head: Message, link: Link, at: Position | None, *, first: bool) -> None:
        """Whether the stream was right not to go on with deltas."""
        if first and not link.token:
            right = head.reason == "initial"
        elif at is None:  # half a snapshot
            right = head.reason in ("epoch_changed", "token_too_old")
        elif head.reason == "epoch_changed":
            right = at[0] != head.epoch
        elif head.reason == "token_too_old":
            right = first and at[0] == head.epoch and head.revision - at[1] >= self._promise.ring
        else:
            right = head.reason == "large_change"
        if not right:
            self._breach(
                RESUMABLE, f"a snapshot at {head.revision} because of {head.reason!r}, from {at}"
            )
        if at is not None and at[0] == head.epoch and head.revision < at[1]:
            self._breach(RESUMABLE, f"a snapshot at {head.revision} goes back from {at[1]}")

    def _beat(self, event: Event, at: Position | None) -> None:
        self._verdict.counts["heartbeats"] += 1
        message = event.message
        if at is None or message.epoch != at[0]:
            self._breach(BOOKMARKABLE, f"a heartbeat of {message.epoch} at {at}")
            return
        if message.revision != at[1]:
            self._breach(BOOKMARKABLE, f"a heartbeat at {message.revision}, delivered was {at[1]}")
            return
        self._check_digest(event, at, BOOKMARKABLE)

    def _check_digest(self, event: Event, position: Position, guarantee: str) -> None:
        said = event.message.digest
        self._verdict.counts["digests"] += 1
        if event.own_digest != said:
            self._breach(guarantee, f"the content at {position} has not the digest it is given")
        if self._common.digests.setdefault(position, said) != said:
            self._breach(guarantee, f"two digests for {position}")

    def _breach(self, guarantee: str, what: str) -> None:
        self._verdict.breaches.append(Breach(guarantee, self._name, what))
