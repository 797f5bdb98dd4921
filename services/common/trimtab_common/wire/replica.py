"""A copy of one of collector's models that follows its stream: what decision and the CLI read.

`run` never ends by itself: it reconnects with back-off and resumes with its last token, and takes a
fresh snapshot when collector says so. One client code path: a snapshot replaces, a delta applies.
"""

from __future__ import annotations

import asyncio
import gc
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any, Generic, Protocol, TypeVar

import grpc
import grpc.aio
import structlog

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_common.domain.changes import Change
from trimtab_common.domain.compute import DIGEST_AT_ONCE, ComputeModel
from trimtab_common.domain.elements import ElementChange, ElementModel, ElementSnapshot
from trimtab_common.domain.errors import InvalidArgument, StaleModel
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import Clock, SystemClock
from trimtab_common.wire import element_codec
from trimtab_common.wire.element_codec import ElementReader
from trimtab_common.wire.model_codec import change_of
from trimtab_common.wire.snapshot_codec import SnapshotReader

log = structlog.get_logger(__name__)
_BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_STREAM_TIMEOUT_S = 2 * 3600.0
_FIRST_MESSAGE_S = 30.0
_STAY = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE)
"""Ends of a stream after which the same collector is asked again: its token is still good."""
M = TypeVar("M", ComputeModel, ElementModel)
M_co = TypeVar("M_co", covariant=True)


class _Diverged(Exception):
    """The digests differ at the same position."""


class Reader(Protocol[M_co]):
    """Puts a streamed snapshot together."""

    begin: model_pb2.SnapshotBegin
    """Its head."""

    def finish(self, end: model_pb2.SnapshotEnd) -> M_co:
        """The model. InvalidArgument."""
        ...


class Replica(ABC, Generic[M]):
    """Follows WatchModel over `channel`. One task runs `run`; everything else is read.

    on_delta: called with each delta after it was applied. on_snapshot: called with the head of
    each snapshot after it replaced the model. others: further collectors that hold the same model;
    when one does not answer the next is asked, and gives a fresh snapshot: nothing is lost (C-119).
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        kind: str,
        heartbeat_s: int = 5,
        clock: Clock | None = None,
        on_delta: Callable[[model_pb2.Delta], None] | None = None,
        on_snapshot: Callable[[model_pb2.SnapshotBegin], None] | None = None,
        others: Sequence[grpc.aio.Channel] = (),
    ) -> None:
        self._stubs: list[model_pb2_grpc.ModelServiceAsyncStub] = [
            model_pb2_grpc.ModelServiceStub(found) for found in (channel, *others)
        ]
        self._at = 0
        self._kind = kind
        self._heartbeat_s = heartbeat_s
        self._clock = clock or SystemClock()
        self._on_delta = on_delta
        self._on_snapshot = on_snapshot
        self._token = ""
        self._model: M | None = None
        self._ready = asyncio.Event()
        self._changed = asyncio.Condition()
        self._age_s = 0.0
        self._age_at = self._clock.monotonic()
        self.connected = False
        self.problem = "not connected to collector yet"
        self.snapshots_taken = 0

    @property
    def sources(self) -> Sequence[model_pb2_grpc.ModelServiceAsyncStub]:
        """All collectors, the one that is followed now first."""
        return (*self._stubs[self._at :], *self._stubs[: self._at])

    @property
    def ready(self) -> bool:
        """Whether there is a model to read."""
        return self._model is not None

    @property
    def revision(self) -> int:
        """Revision of the content; 0 before the first snapshot."""
        return self._model.revision if self._model else 0

    @property
    def epoch(self) -> str:
        """Which collector's revisions these are."""
        return self._model.epoch if self._model else ""

    @property
    def age_s(self) -> float:
        """Seconds since the cloud last confirmed this content, as far as it is known here."""
        return self._age_s + self._clock.monotonic() - self._age_at

    @property
    def model(self) -> M:
        """The model itself, for look-ups by key; do not change it. StaleModel before the first."""
        if self._model is None:
            raise StaleModel(f"The cluster state is not defined: {self.problem}.")
        return self._model

    async def wait_ready(self, timeout_s: float) -> None:
        """Returns when there is a model. StaleModel, with the reason, when there is none in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise StaleModel(f"The cluster state is not defined: {self.problem}.") from None

    async def wait_until(self, reached: Callable[[M], bool], timeout_s: float) -> None:
        """Returns when the model is as asked. TimeoutError when it is not in time."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: self._model is not None and reached(self._model))

    async def run(self) -> None:
        """Follows the stream until cancelled."""
        attempt = 0
        while True:
            before = self._token
            try:
                await self._follow()
            except grpc.aio.AioRpcError as error:
                self.problem = f"collector: {error.details() or error.code().name}"
                log.info("model stream ended", code=error.code().name, problem=self.problem)
                if error.code() not in _STAY:
                    self._ask_the_next()
            except TimeoutError:
                self.problem = "collector sends nothing, not even heartbeats"
                log.warning("model stream is silent, reconnecting")
                self._ask_the_next()
            except (_Diverged, InvalidArgument) as error:
                self.problem = str(error)
                self._token = ""
                log.error("taking a fresh snapshot", problem=self.problem)  # noqa: TRY400, one line is enough
            finally:
                self.connected = False
            attempt = 0 if self._token != before else attempt + 1
            wait_s = _BACK_OFF_S[min(attempt, len(_BACK_OFF_S) - 1)]
            await self._clock.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311, jitter

    def _ask_the_next(self) -> None:
        self._at = (self._at + 1) % len(self._stubs)

    async def _follow(self) -> None:
        request = model_pb2.WatchModelRequest(
            kind=self._kind, resume_token=self._token, heartbeat_s=self._heartbeat_s
        )
        call = self._stubs[self._at].WatchModel(request, timeout=_STREAM_TIMEOUT_S)
        try:
            reader: Reader[M] | None = None
            patience_s = _FIRST_MESSAGE_S
            while True:
                async with asyncio.timeout(patience_s):
                    message = await call.read()
                if not isinstance(message, model_pb2.WatchModelResponse):
                    return  # collector ended the stream, as it does with old ones
                self.connected = True
                patience_s = 3.0 * self._heartbeat_s
                reader = await self._take(message, reader)
        finally:
            call.cancel()

    async def _take(
        self, message: model_pb2.WatchModelResponse, reader: Reader[M] | None
    ) -> Reader[M] | None:
        match message.WhichOneof("event"):
            case "begin":
                return self._reader(message.begin)
            case "compute" | "elements" if reader is not None:
                self._add(reader, message)
                return reader
            case "end" if reader is not None:
                # a large snapshot takes a second: not on the event loop
                self._model = await asyncio.to_thread(reader.finish, message.end)
                self.snapshots_taken += 1
                self._token = message.resume_token
                # else each full collection walks all of it: 0.12 s at 200,000 servers, and nothing else runs
                gc.freeze()
                self._ready.set()
                if self._on_snapshot is not None:
                    self._on_snapshot(reader.begin)
                await self._notify()
            case "deltas" if self._model is not None:
                self._apply(self._model, message.deltas)
                self._token = message.resume_token
                await self._notify()
            case "heartbeat" if self._model is not None:
                self._age_s, self._age_at = message.heartbeat.age_s, self._clock.monotonic()
                await self._verify(self._model, message.heartbeat)
            case _:
                log.warning("ignored a message of the model stream", token=message.resume_token)
        return None

    def _apply(self, model: M, batch: model_pb2.DeltaBatch) -> None:
        for delta in batch.deltas:
            model.apply([self._change(change) for change in delta.changes])
            model.move_to(revision=int(delta.position.revision), at=delta.at.ToDatetime(tzinfo=UTC))
            if self._on_delta is not None:
                self._on_delta(delta)

    async def _verify(self, model: M, heartbeat: model_pb2.Heartbeat) -> None:
        if heartbeat.position.revision != model.revision:
            return
        while model.digest_some(DIGEST_AT_ONCE):  # noqa: ASYNC110, lets others run; only this task changes it
            await asyncio.sleep(0)
        if heartbeat.digest != model.digest():
            raise _Diverged("the replica's content differs from collector's")

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    @abstractmethod
    def _reader(self, begin: model_pb2.SnapshotBegin) -> Reader[M]:
        """What puts a snapshot together that begins so."""

    @abstractmethod
    def _add(self, reader: Any, message: model_pb2.WatchModelResponse) -> None:
        """Gives a chunk to the reader."""

    @abstractmethod
    def _change(self, message: model_pb2.Change) -> Any:
        """The change of a message. InvalidArgument."""


class ModelReplica(Replica[ComputeModel]):
    """The compute model."""

    def __init__(self, channel: grpc.aio.Channel, **options: Any) -> None:
        super().__init__(channel, kind="compute", **options)

    def snapshot(self) -> ComputeSnapshot:
        """The content now, immutable. StaleModel before the first."""
        return self.model.snapshot()

    def _reader(self, begin: model_pb2.SnapshotBegin) -> SnapshotReader:
        return SnapshotReader(begin)

    def _add(self, reader: SnapshotReader, message: model_pb2.WatchModelResponse) -> None:
        reader.add(message.compute)

    def _change(self, message: model_pb2.Change) -> Change:
        return change_of(message)


class ElementReplica(Replica[ElementModel]):
    """The storage or the baremetal model."""

    def snapshot(self) -> ElementSnapshot:
        """The content now, immutable. StaleModel before the first."""
        return self.model.snapshot()

    def _reader(self, begin: model_pb2.SnapshotBegin) -> ElementReader:
        return ElementReader(begin)

    def _add(self, reader: ElementReader, message: model_pb2.WatchModelResponse) -> None:
        reader.add(message.elements)

    def _change(self, message: model_pb2.Change) -> ElementChange:
        return element_codec.change_of(message)
