"""The table of Nova's events: what each does to the compute model (C-055).

`TABLE` is the whole truth; a type that is not in it is ignored. Handlers are pure: an event and what
is known go in, changes come out, and the names of what has to be read again from Nova because the
event does not say enough. Each costs O(1) in the size of the model (C-067).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Protocol

from trimtab_collector.compute.replayed import key_of
from trimtab_collector.notifications import nova_payloads as payloads
from trimtab_collector.notifications.envelope import Notification, decode
from trimtab_collector.notifications.outcome import NOTHING, Dialect, Outcome
from trimtab_common.domain.changes import (
    Change,
    HostRow,
    RemoveGroup,
    RemoveHost,
    RemoveServer,
    ServerRow,
    SetAggregates,
    UpsertGroup,
    UpsertHost,
    UpsertServer,
)
from trimtab_common.domain.compute_terms import Aggregate, ServerGroup

NOVA_COMPUTE = "nova-compute"
_ALIVE_WITHIN = timedelta(seconds=60)  # Nova's service_down_time


class Known(Protocol):
    """What handlers look at: the live model, or a read of the cloud not yet applied."""

    @property
    def aggregates(self) -> tuple[Aggregate, ...]:
        """All host aggregates, by id."""
        ...

    def find_host(self, hostname: str) -> HostRow | None:
        """The host with this hostname, or None."""
        ...

    def find_server(self, uuid: str) -> ServerRow | None:
        """The server with this uuid, or None."""
        ...

    def find_group(self, uuid: str) -> ServerGroup | None:
        """The server group with this uuid, or None."""
        ...


Handler = Callable[[Notification, Known, bool], Outcome]
"""The bool: whether the model keeps extended attributes (C-035)."""


class Element(Enum):
    """What an event is about; events are ordered within one element (C-064)."""

    SERVER = auto()
    HOST = auto()
    AGGREGATE = auto()
    GROUP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A line of the table.

    revives: the event may bring back what was deleted; partial: it does not say all of its element.
    """

    element: Element
    handler: Handler
    priority: str = "INFO"
    revives: bool = False
    partial: bool = False

    @property
    def at_once(self) -> bool:
        """Hosts, aggregates and groups: servers that come after them may need them."""
        return self.element is not Element.SERVER

    def handle(self, event: Notification, known: Known, extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
        """What the event means for what is known."""
        return self.handler(event, known, extended)

    def key(self, event: Notification) -> str:
        """Names the element; servers by their bare uuid. Malformed."""
        if self.element is Element.SERVER:
            return payloads.server_uuid(event.data)
        if self.element is Element.HOST:
            return f"host {payloads.text(event.data, 'host')}"
        if self.element is Element.GROUP:
            return f"group {payloads.group_uuid(event.data)}"
        return f"aggregate {payloads.aggregate_id(event.data)}"


# -- servers ------------------------------------------------------------------------------------


def upsert_server(event: Notification, known: Known, extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """Adds the server or replaces it with what the event says (C-057, C-058)."""
    uuid = payloads.server_uuid(event.data)
    row = payloads.server_row(event.data, known.find_server(uuid), extended=extended)
    if row is None:
        return Outcome(changes=(RemoveServer(uuid),))
    unknown = row.hostname and known.find_host(row.hostname) is None
    return Outcome(changes=(UpsertServer(row),), hosts=(row.hostname,) if unknown else ())


def upsert_built_server(event: Notification, known: Known, extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """As `upsert_server`, but a server that still builds is left alone: it has no host yet."""
    if event.data.get("state") == "building":
        return NOTHING
    return upsert_server(event, known, extended)


def upsert_replaced_server(event: Notification, known: Known, extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """As `upsert_server`; the zone it is pinned to comes from the API alone (C-036)."""
    outcome = upsert_server(event, known, extended)
    return (
        dataclasses.replace(outcome, servers=(payloads.server_uuid(event.data),))
        if extended
        else outcome
    )


def remove_server(event: Notification, _known: Known, _extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """Removes the server; one that is not known is no error."""
    return Outcome(changes=(RemoveServer(payloads.server_uuid(event.data)),))


def mark_in_flux(event: Notification, known: Known, _extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """Takes over that Nova is doing something with the server, and nothing else."""
    row = known.find_server(payloads.server_uuid(event.data))
    if row is None:
        return NOTHING
    changed = dataclasses.replace(row, in_flux=payloads.in_flux(event.data))
    return Outcome(changes=(UpsertServer(changed),))


def mark_and_reread_server(event: Notification, known: Known, extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """As `mark_in_flux`; what the event says of the host cannot be believed: asks Nova too."""
    uuid = payloads.server_uuid(event.data)
    return dataclasses.replace(mark_in_flux(event, known, extended), servers=(uuid,))


def reread_server(event: Notification, _known: Known, _extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """The event came too early or too late to be believed: asks Nova."""
    return Outcome(servers=(payloads.server_uuid(event.data),))


# -- hosts --------------------------------------------------------------------------------------


def upsert_service(event: Notification, known: Known, _extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """Takes over what operators set (C-060); an unknown host is read from the API (C-062).

    forced_down false does not prove that a host is alive: a fresh `last_seen_up` does.
    """
    data = event.data
    hostname = payloads.text(data, "host")
    if data.get("binary") != NOVA_COMPUTE:
        return NOTHING
    row = known.find_host(hostname)
    if row is None:
        return Outcome(hosts=(hostname,))
    disabled, forced_down = payloads.flag(data, "disabled"), bool(data.get("forced_down"))
    changed = dataclasses.replace(
        row,
        up=not forced_down and (row.up or _seen_alive(event)),
        enabled=not disabled,
        disabled_reason=(payloads.text_or_none(data, "disabled_reason") or None)
        if disabled
        else None,
    )
    return Outcome(changes=(UpsertHost(changed),))


def remove_service(event: Notification, known: Known, _extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """Removes the host; one that is not known is no error (C-063)."""
    hostname = payloads.text(event.data, "host")
    if event.data.get("binary") != NOVA_COMPUTE or known.find_host(hostname) is None:
        return NOTHING
    return Outcome(changes=(RemoveHost(hostname),))


def _seen_alive(event: Notification) -> bool:
    seen = payloads.moment(event.data.get("last_seen_up"), "last_seen_up")
    now = payloads.moment(event.at, "timestamp")
    return seen is not None and now is not None and now - seen <= _ALIVE_WITHIN


# -- server groups ------------------------------------------------------------------------------


def set_group(event: Notification, _known: Known, _extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """Adds or replaces the server group, with all its members."""
    return Outcome(changes=(UpsertGroup(payloads.group(event.data)),))


def remove_group(event: Notification, _known: Known, _extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """Removes the server group; one that is not known is no error."""
    return Outcome(changes=(RemoveGroup(payloads.group_uuid(event.data)),))


# -- aggregates ---------------------------------------------------------------------------------


def set_aggregate(event: Notification, known: Known, _extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """Adds or replaces the aggregate; hosts whose zone it sets are read again."""
    return _with_aggregate(payloads.aggregate(event.data), payloads.aggregate_id(event.data), known)


def remove_aggregate(event: Notification, known: Known, _extended: bool) -> Outcome:  # noqa: FBT001, the Handler type
    """Removes the aggregate; hosts whose zone it set are read again."""
    return _with_aggregate(None, payloads.aggregate_id(event.data), known)


def _with_aggregate(new: Aggregate | None, number: int, known: Known) -> Outcome:
    old = next((row for row in known.aggregates if row.id == number), None)
    if new == old:
        return NOTHING
    others = [row for row in known.aggregates if row.id != number]
    index = sorted([*others, new] if new else others, key=lambda row: row.id)
    changes: tuple[Change, ...] = (SetAggregates(tuple(index)),)
    before, after = _zones(old), _zones(new)
    moved = [name for name in before | after if before.get(name) != after.get(name)]
    return Outcome(changes=changes, hosts=tuple(sorted(moved)))


def _zones(row: Aggregate | None) -> dict[str, str]:
    """The zone that an aggregate gives to its hosts."""
    return dict.fromkeys(row.hosts, row.zone) if row is not None and row.zone else {}


# -- the table ----------------------------------------------------------------------------------

_UPSERT = Rule(element=Element.SERVER, handler=upsert_server)
_REPLACED = Rule(element=Element.SERVER, handler=upsert_replaced_server)
_REMOVE = Rule(element=Element.SERVER, handler=remove_server)
_REREAD = Rule(element=Element.SERVER, handler=reread_server)
_FAILED = Rule(element=Element.SERVER, handler=reread_server, priority="ERROR")
_IN_FLUX = Rule(element=Element.SERVER, handler=mark_in_flux, partial=True)
_GROUP = Rule(element=Element.GROUP, handler=set_group)
_SERVICE = Rule(element=Element.HOST, handler=upsert_service)
_AGGREGATE = Rule(element=Element.AGGREGATE, handler=set_aggregate)

TABLE: Mapping[str, Rule] = {
    # a server appears, changes, moves
    "instance.create.end": _REPLACED,
    "instance.update": Rule(element=Element.SERVER, handler=upsert_built_server),
    "instance.lock": _UPSERT,
    "instance.unlock": _UPSERT,
    "instance.pause.end": _UPSERT,
    "instance.unpause.end": _UPSERT,
    "instance.power_off.end": _UPSERT,
    "instance.power_on.end": _UPSERT,
    "instance.suspend.end": _UPSERT,
    "instance.resume.end": _UPSERT,
    "instance.rescue.end": _UPSERT,
    "instance.unrescue.end": _UPSERT,
    "instance.reboot.end": _UPSERT,
    "instance.shelve.end": _UPSERT,
    "instance.shelve_offload.end": _UPSERT,  # host null: the node is free again
    "instance.unshelve.end": _REPLACED,
    "instance.restore.end": Rule(element=Element.SERVER, handler=upsert_server, revives=True),
    "instance.rebuild.end": _REPLACED,  # also the end of an evacuation: another host
    "instance.resize_finish.end": _REPLACED,  # host and flavor change here, before the confirm
    "instance.resize_confirm.end": _REPLACED,
    "instance.resize_revert.end": _REPLACED,
    "instance.live_migration_post_dest.end": _UPSERT,  # the host is the destination
    "instance.live_migration_force_complete.end": _UPSERT,  # still the source
    "instance.live_migration_rollback.end": _UPSERT,
    "instance.live_migration_rollback_dest.end": _UPSERT,
    "instance.live_migration_abort.end": _UPSERT,
    "instance.shutdown.end": _UPSERT,  # on the way to its deletion
    # a server goes
    "instance.delete.end": _REMOVE,
    "instance.soft_delete.end": _REMOVE,
    # something is under way: nobody should touch the server now
    "instance.live_migration_pre.end": _IN_FLUX,
    "instance.resize_prep.end": _IN_FLUX,
    "instance.rebuild_scheduled": _IN_FLUX,
    "instance.evacuate": Rule(element=Element.SERVER, handler=mark_and_reread_server, partial=True),
    # the source says this when the destination has spoken; or it went wrong: Nova knows the truth
    "instance.live_migration_post.end": _REREAD,
    "instance.resize.end": _REREAD,
    "instance.create.error": _FAILED,
    "instance.resize.error": _FAILED,
    "instance.rebuild.error": _FAILED,
    "compute_task.migrate_server.error": _FAILED,
    # hosts
    "service.create": _SERVICE,
    "service.update": _SERVICE,
    "service.delete": Rule(element=Element.HOST, handler=remove_service),
    # aggregates, and the zones that they make
    "aggregate.create.end": _AGGREGATE,
    "aggregate.add_host.end": _AGGREGATE,
    "aggregate.remove_host.end": _AGGREGATE,
    "aggregate.update_metadata.end": _AGGREGATE,
    "aggregate.update_prop.end": _AGGREGATE,
    "aggregate.delete.end": Rule(element=Element.AGGREGATE, handler=remove_aggregate),
    # who must be together or apart
    "server_group.create": _GROUP,
    "server_group.add_member": _GROUP,
    "server_group.delete": Rule(element=Element.GROUP, handler=remove_group),
}

IGNORED = frozenset(
    {
        "instance.create.start",  # it builds, and is nowhere yet
        "instance.exists",  # an hourly account
        "instance.volume_attach.end",  # the storage model hears of it from Cinder
        "instance.volume_detach.end",
        "flavor.create",  # servers carry their flavor with them
        "flavor.update",
        "flavor.delete",
        "metrics.update",  # load comes from the datasources
    }
)
"""Events that say nothing about the model, and why; a type in neither table is as harmless."""


def lives(change: Change) -> bool | None:
    """Whether a change says that an element lives, is gone, or neither."""
    if isinstance(change, UpsertServer | UpsertGroup):
        return True
    return False if isinstance(change, RemoveServer | RemoveGroup) else None


NOVA = Dialect(
    table=TABLE,
    ignored=IGNORED,
    publishers=("nova-",),
    decode=decode,
    key_of=key_of,
    lives=lives,
)
"""Nova and the compute model."""
