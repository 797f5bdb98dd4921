"""Following the model: a snapshot or the missed deltas, then every delta; heartbeats between.

The servicer yields what this yields: encoded messages, the deltas of which all watchers share.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from trimtab.model.v1 import model_pb2
from trimtab_collector.delta_log import Token
from trimtab_collector.live_model import LiveModel
from trimtab_common.domain.errors import ResourceExhausted
from trimtab_common.runtime.clock import Clock
from trimtab_common.wire.saved_model import model_messages


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """How long a stream may live, and how often an idle one says that it does."""

    heartbeat_s: float = 5.0
    max_stream_age_s: float = 3600.0


async def watch(
    live: LiveModel, token: Token | None, limits: WatchLimits, clock: Clock
) -> AsyncIterator[bytes]:
    """Encoded WatchModelResponse messages until the stream is old.

    StaleModel when there is no model; ResourceExhausted when the reader is too far behind.
    """
    beat_at = clock.monotonic()  # the first one at once: it tells the age of what was just sent
    end_at = beat_at + limits.max_stream_age_s
    with live.waiting() as changed:
        live.snapshot()  # raises when there is none
        reason = _snapshot_reason(live, token)
        at = live.model.revision if token is None else token.revision
        while clock.monotonic() < end_at:
            changed.clear()
            if reason:
                at = live.model.revision
                for message in _snapshot(live, reason):
                    yield message
                reason = ""
            while at < live.model.revision:
                entry = live.log.next_after(at)
                if entry is None or live.model.revision - at > live.log.max_behind:
                    raise _too_slow(live, at)
                if entry.data is None:
                    reason = "large_change"
                    break
                yield entry.data
                at = entry.last
            if reason:
                continue
            now = clock.monotonic()
            if now >= beat_at:
                beat_at = now + limits.heartbeat_s
                yield heartbeat(live).SerializeToString()
            else:
                await wait_for(changed, min(beat_at, end_at) - now)


def heartbeat(live: LiveModel) -> model_pb2.WatchModelResponse:
    """A heartbeat now: position, age and digest."""
    message = model_pb2.Heartbeat(
        position=model_pb2.Position(epoch=live.model.epoch, revision=live.model.revision),
        age_s=live.age_s,
        digest=live.model.digest(),
    )
    if live.changed_at is not None:
        message.last_event_at.FromDatetime(live.changed_at)
    return model_pb2.WatchModelResponse(resume_token=str(live.token), heartbeat=message)


def _snapshot_reason(live: LiveModel, token: Token | None) -> str:
    if token is None:
        return "initial"
    if token.epoch != live.model.epoch or token.revision > live.model.revision:
        return "epoch_changed"
    current = token.revision == live.model.revision
    return "" if current or live.log.next_after(token.revision) else "token_too_old"


def _too_slow(live: LiveModel, at: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"This reader is {live.model.revision - at} changes behind. "
        "Resume with the last token, and read faster.",
        resume_token=str(Token(live.model.epoch, at)),
    )


def _snapshot(live: LiveModel, reason: str) -> Iterator[bytes]:
    snapshot, token = live.snapshot(), str(live.token)
    inside = str(Token.unusable(live.model.epoch))
    for part in model_messages(snapshot, digest=live.model.digest(), reason=reason):
        last = part.HasField("end")
        yield model_pb2.WatchModelResponse(
            resume_token=token if last else inside,
            begin=part.begin if part.HasField("begin") else None,
            compute=part.compute if part.HasField("compute") else None,
            end=part.end if last else None,
        ).SerializeToString()


async def wait_for(changed: asyncio.Event, timeout_s: float) -> bool:
    """Whether the event was set within the time."""
    try:
        async with asyncio.timeout(timeout_s):
            await changed.wait()
    except TimeoutError:
        return False
    return True
