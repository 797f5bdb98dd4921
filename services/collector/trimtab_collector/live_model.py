"""A live model: one owner applies changes, any number of watchers follow.

Sits between the sync loop, which publishes, and the servicer, which reads. Everything happens on
the event loop, so a snapshot and the position it belongs to are always of one piece.
"""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from trimtab.model.v1 import model_pb2
from trimtab_collector import counters
from trimtab_collector.compute.characters import Characters
from trimtab_collector.delta_log import DeltaLog, Entry, Token
from trimtab_common.domain.changes import SetHealth
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.elements import ElementModel
from trimtab_common.domain.errors import StaleModel
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime import failpoints
from trimtab_common.runtime.clock import Clock
from trimtab_common.wire import element_codec
from trimtab_common.wire.model_codec import delta_message
from trimtab_common.wire.saved_model import model_messages
from trimtab_common.wire.snapshot_codec import MAX_BYTES

KIND = "compute"
NEVER_BUILT = "The cluster state is not defined: the {kind} model was not built yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Changes that belong together: applied and streamed as one."""

    changes: Sequence[Any]
    cause: str
    event_id: str = ""


class Content(Protocol):
    """What is kept live: `ComputeModel` or `ElementModel`."""

    epoch: str
    revision: int
    health: SetHealth

    def apply(self, changes: Iterable[Any]) -> int:
        """Applies changes; how many changed anything."""
        ...

    def move_to(self, *, revision: int, at: datetime) -> None:
        """Says which revision this is."""
        ...

    def digest(self) -> str:
        """Digest of the content."""
        ...

    def digest_some(self, most: int) -> bool:
        """A part of the work of `digest`; whether there is more to do."""
        ...


M = TypeVar("M", bound=Content)


class LiveContent(ABC, Generic[M]):
    """A model with its history, its age and those who wait for its next change."""

    def __init__(self, kind: str, model: M, clock: Clock, log: DeltaLog | None) -> None:
        self.kind = kind
        self.model = model
        self.log = log or DeltaLog()
        self.built = False
        self.synced_at: datetime | None = None
        self.changed_at: datetime | None = None
        self.problem = ""
        self._synced_monotonic = 0.0
        self._clock = clock
        self._waiting: set[asyncio.Event] = set()

    @property
    def token(self) -> Token:
        """The position of the content now."""
        return Token(self.model.epoch, self.model.revision)

    @property
    def age_s(self) -> float:
        """Seconds since the cloud last answered a read in full or a poll."""
        return self._clock.monotonic() - self._synced_monotonic if self.built else 0.0

    @property
    def stale_reason(self) -> str:
        """Why the model is not good; empty when it is."""
        if not self.built:
            never = NEVER_BUILT.format(kind=self.kind)
            return f"{never}: {self.problem}" if self.problem else f"{never}."
        return self.model.health.stale_reason

    @abstractmethod
    def messages(self, reason: str) -> Iterator[model_pb2.GetModelResponse]:
        """The content now, as GetModel streams it. StaleModel when it was never built."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """How many elements of each kind there are."""

    @abstractmethod
    def observe(self) -> None:
        """Shows size and revision to /metrics."""

    @abstractmethod
    def knows(self, name: str) -> bool:
        """Whether there is a host, or whatever this model finds by name."""

    @abstractmethod
    def _message(
        self, delta: Delta, position: model_pb2.Position, stamp: Timestamp
    ) -> model_pb2.Delta:
        """A delta, encoded."""

    def check_built(self) -> None:
        """StaleModel when the model was never built."""
        if not self.built:
            raise StaleModel(self.stale_reason)

    def mark_built(self) -> None:
        """Says that the content is a whole read of the cloud; watchers may have it from now on."""
        if not self.built:
            self.built = True
            self.model.move_to(revision=self.model.revision + 1, at=self._clock.now())
        self._wake()

    def mark_synced(self, *, full: bool) -> None:
        """Says that the cloud just answered: the content is current."""
        if full:
            self.synced_at = self._clock.now()
        self._synced_monotonic = self._clock.monotonic()

    def publish(self, deltas: Sequence[Delta]) -> int:
        """Applies deltas, one revision each, and wakes the watchers; how many changed anything."""
        now = self._clock.now()
        stamp = Timestamp()
        stamp.FromDatetime(now)
        first = self.model.revision + 1
        messages = []
        for delta in deltas:
            if not self.model.apply(delta.changes):
                continue
            self.model.move_to(revision=self.model.revision + 1, at=now)
            if self.built:
                position = model_pb2.Position(epoch=self.model.epoch, revision=self.model.revision)
                messages.append(self._message(delta, position, stamp))
        if self.model.revision < first:
            return 0
        failpoints.reach("collector.delta.before")
        self.changed_at = now
        if self.built:
            self._log(first, messages)
            failpoints.reach("collector.delta.after")
            self._wake()
        return self.model.revision - first + 1

    @contextmanager
    def waiting(self) -> Iterator[asyncio.Event]:
        """An event that is set at each change; clear it before looking at the content."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            yield event
        finally:
            self._waiting.discard(event)

    def _log(self, first: int, messages: list[model_pb2.Delta]) -> None:
        response = model_pb2.WatchModelResponse(
            resume_token=str(self.token), deltas=model_pb2.DeltaBatch(deltas=messages)
        )
        if response.ByteSize() <= MAX_BYTES:
            data = response.SerializeToString()
            self.log.append(Entry(first, self.model.revision, data))
        elif len(messages) == 1:
            self.log.append(Entry(first, first, None))
        else:
            for offset, message in enumerate(messages):
                revision = first + offset
                part = model_pb2.WatchModelResponse(
                    resume_token=str(Token(self.model.epoch, revision)),
                    deltas=model_pb2.DeltaBatch(deltas=[message]),
                )
                fits = part.ByteSize() <= MAX_BYTES
                self.log.append(
                    Entry(revision, revision, part.SerializeToString() if fits else None)
                )

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()


class LiveModel(LiveContent[ComputeModel]):
    """The compute model."""

    def __init__(self, clock: Clock, *, log: DeltaLog | None = None, epoch: str = "") -> None:
        super().__init__(KIND, ComputeModel(epoch=epoch or secrets.token_hex(6)), clock, log)
        self._characters = Characters()

    def publish(self, deltas: Sequence[Delta]) -> int:
        """Applies deltas; says which workload characters in them cannot be read (B-324)."""
        for delta in deltas:
            self._characters.look(delta.changes)
        return super().publish(deltas)

    def snapshot(self) -> ComputeSnapshot:
        """The content now. StaleModel when it was never built."""
        self.check_built()
        return self.model.snapshot()

    def messages(self, reason: str) -> Iterator[model_pb2.GetModelResponse]:
        """The content now, as GetModel streams it."""
        return model_messages(self.snapshot(), digest=self.model.digest(), reason=reason)

    def sizes(self) -> dict[str, int]:
        """Hosts and servers."""
        return {"hosts": self.model.n_hosts, "servers": self.model.n_servers}

    def observe(self) -> None:
        """Shows size and revision to /metrics."""
        counters.observe(self.model)

    def knows(self, name: str) -> bool:
        """Whether there is a host of this name."""
        return self.model.find_host(name) is not None

    def _message(
        self, delta: Delta, position: model_pb2.Position, stamp: Timestamp
    ) -> model_pb2.Delta:
        return delta_message(
            delta.changes, position=position, at=stamp, cause=delta.cause, event_id=delta.event_id
        )


class LiveElements(LiveContent[ElementModel]):
    """The storage or baremetal model. named: the kind of element that is known by name, if any."""

    def __init__(
        self,
        kind: str,
        clock: Clock,
        *,
        named: str = "",
        log: DeltaLog | None = None,
        epoch: str = "",
    ) -> None:
        model = element_codec.MODELS[kind](epoch=epoch or secrets.token_hex(6))
        super().__init__(kind, model, clock, log)
        self._named = named

    def messages(self, reason: str) -> Iterator[model_pb2.GetModelResponse]:
        """The content now, as GetModel streams it."""
        self.check_built()
        return element_codec.element_messages(
            self.model.snapshot(), kind=self.kind, digest=self.model.digest(), reason=reason
        )

    def sizes(self) -> dict[str, int]:
        """Elements by kind."""
        return self.model.counts

    def observe(self) -> None:
        """Shows size to /metrics."""
        for kind, count in self.model.counts.items():
            counters.ELEMENTS.labels(kind).set(count)

    def knows(self, name: str) -> bool:
        """Whether there is an element of this name."""
        return bool(self._named) and self.model.find(self._named, name) is not None

    def _message(
        self, delta: Delta, position: model_pb2.Position, stamp: Timestamp
    ) -> model_pb2.Delta:
        return element_codec.delta_message(
            delta.changes, position=position, at=stamp, cause=delta.cause, event_id=delta.event_id
        )
