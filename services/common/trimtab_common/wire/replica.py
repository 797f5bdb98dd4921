"""A copy of collector's compute model that follows its stream: what decision and the CLI read.

`run` never ends by itself: it reconnects with back-off and resumes with its last token, and takes a
fresh snapshot when collector says so. One client code path: a snapshot replaces, a delta applies.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC

import grpc.aio
import structlog

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import InvalidArgument, StaleModel
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import Clock, SystemClock
from trimtab_common.wire.model_codec import change_of
from trimtab_common.wire.snapshot_codec import SnapshotReader

log = structlog.get_logger(__name__)
_BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_STREAM_TIMEOUT_S = 2 * 3600.0
_FIRST_MESSAGE_S = 30.0


class _Diverged(Exception):
    """The digests differ at the same position."""


class ModelReplica:
    """Follows WatchModel over `channel`. One task runs `run`; everything else is read.

    on_delta: called with each delta after it was applied. on_snapshot: called with the head of
    each snapshot after it replaced the model.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        kind: str = "compute",
        heartbeat_s: int = 5,
        clock: Clock | None = None,
        on_delta: Callable[[model_pb2.Delta], None] | None = None,
        on_snapshot: Callable[[model_pb2.SnapshotBegin], None] | None = None,
    ) -> None:
        self._stub = model_pb2_grpc.ModelServiceStub(channel)
        self._kind = kind
        self._heartbeat_s = heartbeat_s
        self._clock = clock or SystemClock()
        self._on_delta = on_delta
        self._on_snapshot = on_snapshot
        self._token = ""
        self._model: ComputeModel | None = None
        self._ready = asyncio.Event()
        self._changed = asyncio.Condition()
        self._age_s = 0.0
        self._age_at = self._clock.monotonic()
        self.connected = False
        self.problem = "not connected to collector yet"
        self.snapshots_taken = 0

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
    def model(self) -> ComputeModel:
        """The model itself, for look-ups by key; do not change it. StaleModel before the first."""
        if self._model is None:
            raise StaleModel(f"The cluster state is not defined: {self.problem}.")
        return self._model

    def snapshot(self) -> ComputeSnapshot:
        """The content now, immutable. StaleModel before the first."""
        return self.model.snapshot()

    async def wait_ready(self, timeout_s: float) -> None:
        """Returns when there is a model. StaleModel, with the reason, when there is none in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise StaleModel(f"The cluster state is not defined: {self.problem}.") from None

    async def wait_until(self, reached: Callable[[ComputeModel], bool], timeout_s: float) -> None:
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
            except TimeoutError:
                self.problem = "collector sends nothing, not even heartbeats"
                log.warning("model stream is silent, reconnecting")
            except (_Diverged, InvalidArgument) as error:
                self.problem = str(error)
                self._token = ""
                log.error("taking a fresh snapshot", problem=self.problem)  # noqa: TRY400, one line is enough
            finally:
                self.connected = False
            attempt = 0 if self._token != before else attempt + 1
            wait_s = _BACK_OFF_S[min(attempt, len(_BACK_OFF_S) - 1)]
            await self._clock.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311, jitter

    async def _follow(self) -> None:
        request = model_pb2.WatchModelRequest(
            kind=self._kind, resume_token=self._token, heartbeat_s=self._heartbeat_s
        )
        call = self._stub.WatchModel(request, timeout=_STREAM_TIMEOUT_S)
        try:
            reader: SnapshotReader | None = None
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
        self, message: model_pb2.WatchModelResponse, reader: SnapshotReader | None
    ) -> SnapshotReader | None:
        match message.WhichOneof("event"):
            case "begin":
                return SnapshotReader(message.begin)
            case "compute" if reader is not None:
                reader.add(message.compute)
                return reader
            case "end" if reader is not None:
                # a large snapshot takes a second: not on the event loop
                self._model = await asyncio.to_thread(reader.finish, message.end)
                self.snapshots_taken += 1
                self._token = message.resume_token
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
                self._verify(self._model, message.heartbeat)
            case _:
                log.warning("ignored a message of the model stream", token=message.resume_token)
        return None

    def _apply(self, model: ComputeModel, batch: model_pb2.DeltaBatch) -> None:
        for delta in batch.deltas:
            model.apply([change_of(change) for change in delta.changes])
            model.move_to(revision=int(delta.position.revision), at=delta.at.ToDatetime(tzinfo=UTC))
            if self._on_delta is not None:
                self._on_delta(delta)

    def _verify(self, model: ComputeModel, heartbeat: model_pb2.Heartbeat) -> None:
        if heartbeat.position.revision == model.revision and heartbeat.digest != model.digest():
            raise _Diverged("the replica's content differs from collector's")

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
