"""The live compute model: one owner applies changes, any number of watchers follow.

Sits between the sync loop, which publishes, and the servicer, which reads. Everything happens on
the event loop, so a snapshot and the position it belongs to are always of one piece.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from trimtab.model.v1 import model_pb2
from trimtab_collector.delta_log import DeltaLog, Entry, Token
from trimtab_common.domain.changes import Change
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import StaleModel
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import Clock
from trimtab_common.wire.model_codec import delta_message
from trimtab_common.wire.snapshot_codec import MAX_BYTES

KIND = "compute"
NEVER_BUILT = "The cluster state is not defined: the compute model was not built yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Changes that belong together: applied and streamed as one."""

    changes: Sequence[Change]
    cause: str
    event_id: str = ""


class LiveModel:
    """A compute model with its history, its age and those who wait for its next change."""

    def __init__(self, clock: Clock, *, log: DeltaLog | None = None, epoch: str = "") -> None:
        self.model = ComputeModel(epoch=epoch or secrets.token_hex(6))
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
            return f"{NEVER_BUILT}: {self.problem}" if self.problem else f"{NEVER_BUILT}."
        return self.model.health.stale_reason

    def snapshot(self) -> ComputeSnapshot:
        """The content now. StaleModel when it was never built."""
        if not self.built:
            raise StaleModel(self.stale_reason)
        return self.model.snapshot()

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
                messages.append(
                    delta_message(
                        delta.changes,
                        position=position,
                        at=stamp,
                        cause=delta.cause,
                        event_id=delta.event_id,
                    )
                )
        if self.model.revision < first:
            return 0
        self.changed_at = now
        if self.built:
            self._log(first, messages)
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
