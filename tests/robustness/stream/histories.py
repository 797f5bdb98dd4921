"""What a watcher was told, decoded from the bytes of the wire without any code of Trimtab's own.

The protobuf classes come from the published contract; rows, content and digest are worked out here
a second time, so that the validators do not trust what they judge. Equal bytes are decoded once and
shared by all watchers of a process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from trimtab.model.v1 import model_pb2

MASK = (1 << 128) - 1
Key = tuple[str, str]
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A row that came, changed or (row None) went."""

    key: Key
    row: Row | None
    weight: int
    """What the row adds to the digest."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One revision: its changes, and a fingerprint of all its bytes."""

    revision: int
    fingerprint: bytes
    changes: tuple[Change, ...]
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream. kind: begin, chunk, end, deltas or beat."""

    kind: str
    token: str
    epoch: str = ""
    revision: int = -1
    deltas: tuple[Delta, ...] = ()
    reason: str = ""
    digest: str = ""
    hosts: int = 0
    servers: int = 0
    groups: int = 0
    raw: Any = None


@dataclass(slots=True)
class Event:
    """A message as one watcher got it. own_digest: of the watcher's content, where it was asked."""

    message: Message
    own_digest: str = ""
    own_rows: int = -1


@dataclass(slots=True)
class Link:
    """One call of WatchModel from its start to its end."""

    token: str
    events: list[Event] = field(default_factory=list)
    ended: str = ""
    """A gRPC code, or what the watcher itself did: cut."""


@dataclass(slots=True)
class History:
    """All that one watcher was told."""

    name: str
    links: list[Link] = field(default_factory=list)


def weight_of(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=16).digest(), "big")


def host_change(h: Any) -> Change:
    inventory = (h.vcpus, h.memory_mib, h.disk_gib)
    reserved = (h.vcpus_reserved, h.memory_mib_reserved, h.disk_gib_reserved)
    ratio = (h.vcpu_ratio, h.memory_ratio, h.disk_ratio)
    reason = h.disabled_reason
    return _host(
        (h.uuid, h.hostname, inventory, reserved, ratio, h.up, h.enabled, reason, h.zone),
        from_nova=h.capacity_from_nova,
    )


def _host(row: Row, *, from_nova: bool) -> Change:
    row = (*row, from_nova)
    return Change(("host", row[1]), row, weight_of("host", *row))


def server_change(s: Any) -> Change:
    a = s.attributes
    return _server(
        (s.uuid, s.name, s.hostname, (s.vcpus, s.memory_mib, s.disk_gib), int(s.state)),
        a,
        locked=s.locked,
        project=s.project_id,
        created_at_s=s.created_at_s,
        in_flux=s.in_flux,
    )


def _server(
    head: Row, attributes: Any, *, locked: bool, project: str, created_at_s: int, in_flux: bool
) -> Change:
    specs = _pairs(attributes and attributes.extra_specs_json)
    hints = _pairs(attributes and attributes.scheduler_hints_json)
    row = (
        *head,
        attributes.state_text if attributes else "",
        locked,
        project,
        sorted(attributes.metadata.items()) if attributes else [],
        attributes.pinned_zone if attributes else "",
        specs,
        created_at_s,
        hints,
        in_flux,
    )
    return Change(("server", head[0]), row, weight_of("server", *row))


def _pairs(text: str | None) -> list[tuple[str, Any]]:
    return sorted(json.loads(text).items()) if text else []


def group_change(g: Any) -> Change:
    row = (g.uuid, g.name, g.policy, sorted(g.members), g.max_per_host, g.project_id)
    return Change(("group", g.uuid), row, weight_of("group", *row))


def aggregates_change(aggregates: Any) -> Change:
    rows = tuple(
        (a.id, a.name, a.zone, sorted(a.hosts), sorted(a.metadata.items())) for a in aggregates
    )
    return Change(("index", ""), rows, sum(weight_of("aggregate", *row) for row in rows))


def _change(change: Any) -> Change | None:
    kind = change.WhichOneof("change")
    match kind:
        case "upsert_host":
            return host_change(change.upsert_host)
        case "upsert_server":
            return server_change(change.upsert_server)
        case "upsert_group":
            return group_change(change.upsert_group)
        case "remove_host" | "remove_server" | "remove_group":
            return Change((kind.removeprefix("remove_"), getattr(change, kind)), None, 0)
        case "aggregates":
            return aggregates_change(change.aggregates.aggregates)
        case "health":
            return None  # flags, which the digest leaves out
        case _:
            raise AssertionError(f"a change of no kind: {change}")


def snapshot_changes(begin: Any, chunks: list[Any]) -> list[Change]:
    """The rows of a snapshot from its columns."""
    changes, names = [aggregates_change(begin.aggregates)], []
    for chunk in chunks:
        h = chunk.hosts
        names.extend(h.hostname)
        for i, name in enumerate(h.hostname):
            inventory = (h.vcpus[i], h.memory_mib[i], h.disk_gib[i])
            reserved = (h.vcpus_reserved[i], h.memory_mib_reserved[i], h.disk_gib_reserved[i])
            ratio = (h.vcpu_ratio[i], h.memory_ratio[i], h.disk_ratio[i])
            zone = begin.zones[h.zone[i]] if h.zone[i] >= 0 else ""
            row = (h.uuid[i], name, inventory, reserved, ratio, h.up[i], h.enabled[i])
            row = (*row, h.disabled_reason[i], zone)
            changes.append(_host(row, from_nova=h.capacity_from_nova[i]))
    for chunk in chunks:
        s = chunk.servers
        for i, name in enumerate(s.name):
            attributes = s.attributes.get(i, None)
            key = str(uuid.UUID(bytes=s.uuid[16 * i : 16 * i + 16]))
            missing = attributes.missing_hostname if attributes else ""
            host = names[s.host[i]] if s.host[i] >= 0 else missing
            demand = (s.vcpus[i], s.memory_mib[i], s.disk_gib[i])
            changes.append(
                _server(
                    (key, name, host, demand, int(s.state[i])),
                    attributes,
                    locked=s.locked[i],
                    project=begin.projects[s.project[i]],
                    created_at_s=s.created_at_s[i],
                    in_flux=s.in_flux[i] if s.in_flux else False,
                )
            )
        changes += [group_change(group) for group in chunk.groups]
    return changes


def _raw_response() -> Any:
    """WatchModelResponse with its deltas left as bytes."""
    file = descriptor_pb2.FileDescriptorProto(name="raw.proto", package="raw", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    batch, response = file.message_type.add(name="Batch"), file.message_type.add(name="Response")
    batch.field.add(name="deltas", number=1, label=field.LABEL_REPEATED, type=field.TYPE_BYTES)
    response.field.add(name="token", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    response.field.add(
        name="batch",
        number=5,
        label=field.LABEL_OPTIONAL,
        type=field.TYPE_MESSAGE,
        type_name=".raw.Batch",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("raw.Response"))


_RAW = _raw_response()


class Decoder:
    """Bytes to messages; the same bytes give the same object, of a delta too.

    Watchers get the same deltas in batches of their own: to decode each batch would cost this
    process more than all else, and it would hold every delta fifty times.
    """

    def __init__(self, kept: int = 4000) -> None:
        self._messages: OrderedDict[bytes, Message] = OrderedDict()
        self._deltas: OrderedDict[bytes, Delta] = OrderedDict()
        self._kept = kept

    def decode(self, data: bytes) -> Message:
        return self._known(self._messages, data, self._decoded)

    def _decoded(self, data: bytes) -> Message:
        raw = _RAW.FromString(data)
        if not raw.HasField("batch"):
            return decoded(model_pb2.WatchModelResponse.FromString(data))
        deltas = tuple(self._known(self._deltas, delta, _delta) for delta in raw.batch.deltas)
        return Message("deltas", raw.token, deltas[0].epoch, deltas[-1].revision, deltas)

    def _known(self, known: OrderedDict[bytes, Any], data: bytes, made: Any) -> Any:
        found = known.get(data)
        if found is None:
            found = known[data] = made(data)
            if len(known) > self._kept:
                known.popitem(last=False)
        return found


def decoded(response: Any) -> Message:
    """The message of a response."""
    kind, token = response.WhichOneof("event"), response.resume_token
    match kind:
        case "heartbeat":
            beat = response.heartbeat
            at = beat.position
            return Message("beat", token, at.epoch, int(at.revision), digest=beat.digest)
        case "begin":
            head = response.begin
            at = head.position
            counts = {"hosts": head.hosts, "servers": head.servers, "groups": head.groups}
            reason = head.reason
            return Message(
                "begin", token, at.epoch, int(at.revision), reason=reason, **counts, raw=head
            )
        case "compute":
            return Message("chunk", token, raw=response.compute)
        case "end":
            at = response.end.position
            digest = response.end.digest
            return Message("end", token, at.epoch, int(at.revision), digest=digest)
        case _:
            raise AssertionError(f"a message of no kind: {response}")


def lean(message: Message) -> Message:
    """The message without the rows of its deltas."""
    deltas = tuple(Delta(delta.revision, delta.fingerprint, ()) for delta in message.deltas)
    return dataclasses.replace(message, deltas=deltas) if deltas else message


def _delta(data: bytes) -> Delta:
    delta = model_pb2.Delta.FromString(data)
    changes = tuple(c for c in map(_change, delta.changes) if c is not None)
    fingerprint = hashlib.blake2b(data, digest_size=12).digest()
    at = delta.position
    return Delta(int(at.revision), fingerprint, changes, sys.intern(at.epoch))


class Content:
    """The rows that a watcher holds, and the digest that they have."""

    def __init__(self) -> None:
        self.rows: dict[Key, Change] = {}
        self._total = 0

    def replace(self, changes: list[Change]) -> None:
        self.rows = {change.key: change for change in changes}
        self._total = sum(change.weight for change in self.rows.values())

    def apply(self, delta: Delta) -> None:
        rows = self.rows
        for change in delta.changes:
            if change.row is None:
                old = rows.pop(change.key, None)
            else:
                old = rows.get(change.key)
                rows[change.key] = change
                self._total += change.weight
            if old is not None:
                self._total -= old.weight

    @property
    def digest(self) -> str:
        return f"{self._total & MASK:032x}"
