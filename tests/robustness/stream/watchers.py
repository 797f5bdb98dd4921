"""Watchers over real gRPC that keep all they were told and break off as they are ordered."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from enum import StrEnum
from typing import Any

import grpc
import grpc.aio
from histories import Content, Decoder, Event, History, Link, Message, lean, snapshot_changes

from trimtab.model.v1 import model_pb2
from trimtab_common.runtime.channels import OPTIONS

METHOD = "/trimtab.model.v1.ModelService/WatchModel"
HEARTBEAT_S = 1
LATE_S = 6.0
_CALL_S = 1800.0
_AGAIN_AFTER_S = 0.5


class Cut(StrEnum):
    """How a watcher breaks off."""

    AGAIN = "again"  # the call is cancelled, the next one has the last token
    WIRE = "wire"  # the connection is closed
    BACK = "back"  # the next call has an older token, and hears the same things again
    MIDDLE = "middle"  # a snapshot is asked for, and cut after its beginning
    LATE = "late"  # the next call comes when the log has forgotten the token


class Progress:
    """How far the stream went, as the fastest watcher knows it."""

    def __init__(self) -> None:
        self._spans: dict[str, tuple[int, int]] = {}
        self.over = False
        """The traffic has ended: who waits for more of it waits in vain."""

    @property
    def streamed(self) -> int:
        """Revisions that were streamed, of all epochs."""
        return sum(last - first for first, last in self._spans.values())

    @property
    def epochs(self) -> int:
        return len(self._spans)

    def saw(self, epoch: str, revision: int) -> None:
        first, last = self._spans.get(epoch, (revision, revision))
        if revision >= last:
            self._spans[epoch] = (first, revision)


class Watcher:
    """Follows the model. One task runs `run`; `cut` breaks its call off."""

    def __init__(
        self, name: str, address: str, *, seed: int, decoder: Decoder, progress: Progress
    ) -> None:
        self._progress = progress
        self.history = History(name)
        self.content = Content()
        self.position: tuple[str, int] = ("", -1)
        self.cuts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.pause_s = 0.0
        self.late_by = 3000
        self.is_lean = False
        """Whether it forgets what was in a delta once it has applied it; the judge needs it no more."""
        self._address = address
        self._channel: grpc.aio.Channel | None = None
        self._call: Any = None
        self._random = random.Random(seed)
        self._decode = decoder.decode
        self._ordered: Cut | None = None
        self._tokens: list[str] = []
        self._token = ""
        self._stopped = False
        self._half: tuple[Message, list[Any]] | None = None

    @property
    def digest(self) -> str:
        return self.content.digest

    @property
    def _done(self) -> bool:
        return self._stopped or self._progress.over

    async def run(self) -> None:
        """Follows until `stop`."""
        try:
            while not self._stopped:
                await self._one_call()
                if self._ordered is not None and not self._stopped:
                    await self._obey(self._ordered)
        finally:
            await self._close()

    def cut(self, how: Cut) -> bool:
        """Break off now; False when it is not in a call, or breaks off already."""
        if self._ordered is not None or self._call is None:
            return False
        self._ordered = how
        self._call.cancel()
        return True

    def stop(self) -> None:
        """End; `run` returns soon."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()

    async def _obey(self, how: Cut) -> None:
        self._ordered = None
        self.cuts[how] += 1
        match how:
            case Cut.WIRE:
                await self._close()
            case Cut.BACK:
                mine = [token for token in self._tokens if token]
                self._token = self._random.choice(mine[-50:]) if mine else ""
            case Cut.LATE:
                enough = self._progress.streamed + self.late_by
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LATE_S):
                        while self._progress.streamed < enough and not self._done:  # noqa: ASYNC110, a number has no event
                            await asyncio.sleep(0.1)
            case Cut.MIDDLE:
                self._token = ""
                await self._one_call(after_begin=True)
            case Cut.AGAIN:
                pass

    async def _close(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def _one_call(self, *, after_begin: bool = False) -> None:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address, options=OPTIONS)
        link = Link(self._token)
        self.history.links.append(link)
        request = model_pb2.WatchModelRequest(resume_token=self._token, heartbeat_s=HEARTBEAT_S)
        method = self._channel.unary_stream(
            METHOD, request_serializer=model_pb2.WatchModelRequest.SerializeToString
        )
        self._call = call = method(request, timeout=_CALL_S)
        self._half = None
        try:
            while (data := await call.read()) is not grpc.aio.EOF:
                self._take(self._decode(data), link)
                if after_begin:
                    link.ended = "cut"
                    return
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)
            link.ended = "EOF"
        except asyncio.CancelledError:
            if not (self._stopped or self._ordered):
                raise
            link.ended = "cut"
        except grpc.aio.AioRpcError as error:
            link.ended = error.code().name
            await asyncio.sleep(_AGAIN_AFTER_S)
        finally:
            call.cancel()
            self._call = None
            self.ends[link.ended] += 1

    def _take(self, message: Message, link: Link) -> None:
        event = Event(lean(message) if self.is_lean else message)
        link.events.append(event)
        self._token = message.token
        match message.kind:
            case "begin":
                self._half = (message, [])
            case "chunk" if self._half is not None:
                self._half[1].append(message.raw)
            case "end" if self._half is not None:
                head, chunks = self._half
                changes = snapshot_changes(head.raw, chunks)
                self.content.replace(changes)
                event.own_digest, event.own_rows = self.digest, len(self.content.rows) - 1
                self._at(message)
                self._half = None
            case "deltas":
                for delta in message.deltas:
                    self.content.apply(delta)
                self._at(message)
            case "beat":
                event.own_digest = self.digest

    def _at(self, message: Message) -> None:
        if message.epoch != self.position[0]:
            self._tokens.clear()
        self.position = (message.epoch, message.revision)
        self._progress.saw(*self.position)
        self._tokens.append(message.token)
        if len(self._tokens) > 400:
            del self._tokens[:200]
