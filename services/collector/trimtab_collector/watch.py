"""Following the model: a snapshot or the missed deltas, then every delta; heartbeats between.

The servicer yields what this yields: encoded messages, the deltas of which all watchers share.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from trimtab.model.v1 import model_pb2
from trimtab_collector import counters
from trimtab_collector.delta_log import Entry, Token
from trimtab_collector.live_model import LiveContent
from trimtab_common.domain.compute import DIGEST_AT_ONCE
from trimtab_common.domain.errors import ResourceExhausted
from trimtab_common.runtime import failpoints
from trimtab_common.runtime.clock import Clock
from trimtab_common.wire.snapshot_codec import MAX_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """How long a stream may live, and how often an idle one says that it does."""

    heartbeat_s: float = 5.0
    max_stream_age_s: float = 3600.0


async def watch(
    live: LiveContent[Any], token: Token | None, limits: WatchLimits, clock: Clock
) -> AsyncIterator[bytes]:
    """Encoded WatchModelResponse messages until the stream is old.

    StaleModel when there is no model; ResourceExhausted when the reader is too far behind.
    """
    beat_at = clock.monotonic()  # the first one at once: it tells the age of what was just sent
    end_at = beat_at + limits.max_stream_age_s
    with live.waiting() as changed:
        live.check_built()
        reason = _snapshot_reason(live, token)
        at = live.model.revision if token is None else token.revision
        lag = 0 if reason else live.model.revision - at  # what it came with; it may catch up
        while clock.monotonic() < end_at:
            changed.clear()
            if reason:
                while live.model.digest_some(DIGEST_AT_ONCE):  # noqa: ASYNC110, lets others run
                    await asyncio.sleep(0)
                at, lag = live.model.revision, 0
                for message in snapshot_responses(live, live.messages(reason)):
                    yield message
                    failpoints.reach("collector.snapshot.part")
                reason = ""
            while at < live.model.revision:
                behind = live.model.revision - at
                lag = min(lag, behind)
                entry = live.log.next_after(at)
                if entry is None or behind > lag + live.log.max_behind:
                    raise too_slow(live, at)
                if entry.data is None:
                    reason = "large_change"
                    break
                data, at = _joined(live, entry)
                yield data
            if reason:
                continue
            lag = 0
            now = clock.monotonic()
            if now >= beat_at:
                beat_at = now + limits.heartbeat_s
                yield heartbeat(live).SerializeToString()
            else:
                await wait_for(changed, min(beat_at, end_at) - now)


def heartbeat(live: LiveContent[Any]) -> model_pb2.WatchModelResponse:
    """A heartbeat now: position, age and digest."""
    message = model_pb2.Heartbeat(
        position=model_pb2.Position(epoch=live.model.epoch, revision=live.model.revision),
        age_s=live.age_s,
        digest=live.model.digest(),
    )
    if live.changed_at is not None:
        message.last_event_at.FromDatetime(live.changed_at)
    return model_pb2.WatchModelResponse(resume_token=str(live.token), heartbeat=message)


def _snapshot_reason(live: LiveContent[Any], token: Token | None) -> str:
    if token is None:
        return "initial"
    if token.epoch != live.model.epoch or token.revision > live.model.revision:
        return "epoch_changed"
    current = token.revision == live.model.revision
    return "" if current or live.log.next_after(token.revision) else "token_too_old"


def _joined(live: LiveContent[Any], first: Entry) -> tuple[bytes, int]:
    """As many waiting entries as one message may hold, and the last revision in it.

    Encoded messages laid end to end are one message: their batches of deltas join, and the last
    token stands. Under load a watcher so gets few large messages instead of many small ones.
    """
    parts, size, last = [first.data or b""], len(first.data or b""), first.last
    while (entry := live.log.next_after(last)) is not None and entry.data is not None:
        size += len(entry.data)
        if size > MAX_BYTES:
            break
        parts.append(entry.data)
        last = entry.last
    return (parts[0] if len(parts) == 1 else b"".join(parts)), last


def too_slow(live: LiveContent[Any], at: int) -> ResourceExhausted:
    """What a reader is told that is too far behind."""
    counters.SLOW_READERS.inc()
    return ResourceExhausted(
        f"This reader is {live.model.revision - at} changes behind. "
        "Resume with the last token, and read faster.",
        resume_token=str(Token(live.model.epoch, at)),
    )


def snapshot_responses(
    live: LiveContent[Any], parts: Iterable[model_pb2.GetModelResponse]
) -> Iterator[bytes]:
    """A snapshot as a watch streams it."""
    token = str(live.token)
    inside = str(Token.unusable(live.model.epoch))
    for part in parts:
        last = part.HasField("end")
        yield model_pb2.WatchModelResponse(
            resume_token=token if last else inside,
            begin=part.begin if part.HasField("begin") else None,
            compute=part.compute if part.HasField("compute") else None,
            elements=part.elements if part.HasField("elements") else None,
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
