"""Watching a part of a model: what an audit's scope sees, or single elements by key.

The part is cut here, so that a watcher of one zone does not get the whole cloud. Each such watcher
has a mirror of what it was sent: an element that leaves its part is removed from it, one that comes
in is added. There is no resuming: a watcher that comes back gets a snapshot of its part.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Protocol

from trimtab.model.v1 import model_pb2
from trimtab_collector.delta_log import Token
from trimtab_collector.live_model import LiveContent, LiveElements, LiveModel
from trimtab_collector.watch import WatchLimits, heartbeat, snapshot_responses, too_slow, wait_for
from trimtab_common.domain.changes import (
    Change,
    RemoveHost,
    RemoveServer,
    SetAggregates,
    SetHealth,
    UpsertGroup,
    UpsertHost,
    UpsertServer,
)
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.element_scope import scoped_baremetal, scoped_storage
from trimtab_common.domain.elements import ElementModel
from trimtab_common.domain.scope import compute_rules, scoped
from trimtab_common.runtime.clock import Clock
from trimtab_common.wire import element_codec
from trimtab_common.wire.element_codec import MODELS, element_messages
from trimtab_common.wire.model_codec import change_of, delta_message
from trimtab_common.wire.saved_model import model_messages


class View(Protocol):
    """A part of a model."""

    def messages(self, reason: str) -> Iterator[model_pb2.GetModelResponse]:
        """The part now; what comes later is told relative to this."""
        ...

    def delta(self, delta: model_pb2.Delta) -> model_pb2.Delta | None:
        """What a delta means for the part; raises `Recut` when the part itself is another now."""
        ...

    def digest(self) -> str:
        """Digest of the part."""
        ...


class Recut(Exception):
    """The part is another: the watcher needs a snapshot of it."""


def view_of(live: LiveContent[Any], scope: Any, keys: Sequence[str]) -> View:
    """The part of a live model that a scope and keys leave. InvalidArgument for a bad scope."""
    if isinstance(live, LiveModel):
        return ComputeView(live, scope, frozenset(keys))
    if isinstance(live, LiveElements):
        return ElementView(live, scope, frozenset(keys))
    raise TypeError(f"{live.kind} has no parts")


class ComputeView:
    """Hosts of a scope with their servers; with keys only these hostnames and uuids of them."""

    def __init__(self, live: LiveModel, scope: Any, keys: frozenset[str]) -> None:
        self._live = live
        self._scope = scope
        self._limits = bool(compute_rules(scope))
        self._keys = keys
        self._hosts: frozenset[str] = frozenset()
        self._mirror = ComputeModel()

    def messages(self, reason: str) -> Iterator[model_pb2.GetModelResponse]:
        """The part now."""
        whole, model = self._live.snapshot(), self._live.model
        self._hosts = frozenset(scoped(whole, self._scope).snapshot.host_name)
        mirror = ComputeModel.from_rows(
            [row for row in model.hosts() if self._has_host(row.hostname)],
            [row for row in model.servers() if self._has_server(row.uuid, row.hostname)],
            epoch=model.epoch,
        )
        groups = [] if self._keys else [UpsertGroup(row) for row in model.groups()]
        mirror.apply([*groups, SetAggregates(model.aggregates), model.health])
        mirror.move_to(revision=model.revision, at=model.taken_at)
        self._mirror = mirror
        return model_messages(mirror.snapshot(), digest=mirror.digest(), reason=reason)

    def delta(self, delta: model_pb2.Delta) -> model_pb2.Delta | None:
        """The changes of a delta in the part."""
        changes: list[Change] = []
        for message in delta.changes:
            changes += self._changes(change_of(message))
        if not self._mirror.apply(changes):
            return None
        return delta_message(
            changes,
            position=delta.position,
            at=delta.at,
            cause=delta.cause,
            event_id=delta.event_id,
        )

    def digest(self) -> str:
        """Digest of the part."""
        return self._mirror.digest()

    def _changes(self, change: Change) -> list[Change]:  # noqa: PLR0911, one for each kind of change
        match change:
            case UpsertServer(row):
                if self._has_server(row.uuid, row.hostname):
                    return [change]
                gone = self._mirror.find_server(row.uuid) is not None
                return [RemoveServer(row.uuid)] if gone else []
            case RemoveServer(uuid):
                return [change] if self._mirror.find_server(uuid) is not None else []
            case UpsertHost() | RemoveHost() | SetAggregates() if self._limits:
                raise Recut  # zones and aggregates say what the part is
            case UpsertHost(host):
                return [change] if self._has_host(host.hostname) else []
            case RemoveHost(hostname):
                return [change] if self._mirror.find_host(hostname) is not None else []
            case SetHealth() | SetAggregates():
                return [change]
        return [] if self._keys else [change]

    def _has_host(self, hostname: str) -> bool:
        inside = not self._limits or hostname in self._hosts
        return inside and (not self._keys or hostname in self._keys)

    def _has_server(self, uuid: str, hostname: str) -> bool:
        inside = not self._limits or hostname in self._hosts
        return inside and (not self._keys or uuid in self._keys)


class ElementView:
    """Elements of a scope; with keys only these of them. Small: each delta is a new comparison."""

    def __init__(self, live: LiveElements, scope: Any, keys: frozenset[str]) -> None:
        self._live = live
        self._scope = scope
        self._keys = keys
        self._mirror: ElementModel = MODELS[live.kind]()
        self._rows()  # raises for a scope that cannot be

    def messages(self, reason: str) -> Iterator[model_pb2.GetModelResponse]:
        """The part now."""
        model = self._live.model
        self._mirror = MODELS[self._live.kind](epoch=model.epoch)
        self._mirror.apply(self._mirror.changes_to(self._rows(), model.health))
        self._mirror.move_to(revision=model.revision, at=model.taken_at)
        return element_messages(
            self._mirror.snapshot(), kind=self._live.kind, digest=self.digest(), reason=reason
        )

    def delta(self, delta: model_pb2.Delta) -> model_pb2.Delta | None:
        """What became of the part."""
        changes = self._mirror.changes_to(self._rows(), self._live.model.health)
        if not self._mirror.apply(changes):
            return None
        return element_codec.delta_message(
            changes,
            position=delta.position,
            at=delta.at,
            cause=delta.cause,
            event_id=delta.event_id,
        )

    def digest(self) -> str:
        """Digest of the part."""
        return self._mirror.digest()

    def _rows(self) -> list[Any]:
        cut = scoped_storage if self._live.kind == "storage" else scoped_baremetal
        rows = cut(self._live.model.snapshot(), self._scope).snapshot.rows.values()
        return [row for kind in rows for row in kind if not self._keys or row.key in self._keys]


async def watch_view(
    live: LiveContent[Any], view: View, limits: WatchLimits, clock: Clock
) -> AsyncIterator[bytes]:
    """Encoded WatchModelResponse messages of a part until the stream is old.

    StaleModel when there is no model; ResourceExhausted when the reader is too far behind.
    """
    beat_at = clock.monotonic()
    end_at = beat_at + limits.max_stream_age_s
    with live.waiting() as changed:
        live.check_built()
        reason, at = "initial", live.model.revision
        while clock.monotonic() < end_at:
            changed.clear()
            if reason:
                at = live.model.revision
                for message in snapshot_responses(live, view.messages(reason)):
                    yield message
                reason = ""
            while at < live.model.revision and not reason:
                entry = live.log.next_after(at)
                if entry is None or live.model.revision - at > live.log.max_behind:
                    raise too_slow(live, at)
                at = entry.last
                try:
                    deltas = _cut(view, entry.data)
                except Recut:
                    reason = "part_changed"
                    break
                if deltas:
                    yield _response(live, at, deltas)
            if reason:
                continue
            now = clock.monotonic()
            if now >= beat_at:
                beat_at = now + limits.heartbeat_s
                beat = heartbeat(live)
                beat.heartbeat.digest = view.digest()
                yield beat.SerializeToString()
            else:
                await wait_for(changed, min(beat_at, end_at) - now)


def _cut(view: View, data: bytes | None) -> list[model_pb2.Delta]:
    if data is None:
        raise Recut
    batch = model_pb2.WatchModelResponse.FromString(data).deltas
    return [found for delta in batch.deltas if (found := view.delta(delta)) is not None]


def _response(live: LiveContent[Any], at: int, deltas: list[model_pb2.Delta]) -> bytes:
    return model_pb2.WatchModelResponse(
        resume_token=str(Token(live.model.epoch, at)),
        deltas=model_pb2.DeltaBatch(deltas=deltas),
    ).SerializeToString()
