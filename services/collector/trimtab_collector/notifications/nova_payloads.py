"""Payloads of Nova's notifications as rows of the model (C-053, C-057).

Fields are found by presence, not by version. What is missing or of another kind raises Malformed,
so that nothing half understood reaches the model.
"""

from __future__ import annotations

import uuid as uuid_module
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from trimtab_collector.notifications.envelope import Malformed
from trimtab_common.domain.changes import ServerRow
from trimtab_common.domain.compute_terms import Aggregate, ServerGroup, ServerState

Data = Mapping[str, Any]
_MIB_PER_GIB = 1024
_TOO_MANY = 1 << 29  # no size of anything; three of them still fit a field of a message
_LAST_SECOND = (1 << 32) - 1
_GONE = frozenset({"deleted", "soft-delete"})


def text(data: Data, field: str) -> str:
    """A field that must be a text with something in it. Malformed."""
    value = data.get(field)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{field} is {value!r}")
    return value


def text_or_none(data: Data, field: str) -> str:
    """A field that may be a text or null; "" for none. Malformed."""
    value = data.get(field)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise Malformed(f"{field} is {value!r}")
    return value


def texts(value: Any, name: str) -> Mapping[str, Any]:
    """An object by names, or null. Malformed."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{name} is {value!r}")
    return value


def server_uuid(data: Data) -> str:
    """The server's uuid; `compute_task` events call it otherwise. Malformed."""
    value = data.get("uuid") or data.get("instance_uuid")
    try:
        return str(uuid_module.UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise Malformed(f"uuid is {value!r}") from None


def server_row(data: Data, known: ServerRow | None, *, extended: bool) -> ServerRow | None:
    """The server as the event shows it; None when Nova no longer lists it. Malformed.

    known: the row so far; gives what no notification tells (the pinned zone). The disk counts as in
    a read of the cloud (C-033).
    """
    state_text = text(data, "state")
    if state_text in _GONE or data.get("terminated_at"):
        return None  # a nova-compute that comes back late can write another state over "deleted"
    flavor = fields_of(data.get("flavor"), "flavor")
    metadata = texts(data.get("metadata"), "metadata")
    root_gib = number(flavor, "root_gb") if data.get("image_uuid") else 0
    swap_gib = -(-number(flavor, "swap") // _MIB_PER_GIB)
    state = ServerState.from_nova(state_text)
    created = moment(data.get("created_at"), "created_at")
    return ServerRow(
        uuid=server_uuid(data),
        name=str(data.get("display_name") or ""),
        hostname=text_or_none(data, "host"),
        demand=(
            number(flavor, "vcpus"),
            number(flavor, "memory_mb"),
            root_gib + number(flavor, "ephemeral_gb") + swap_gib,
        ),
        state=state,
        state_text=state_text if state is ServerState.UNKNOWN else "",
        locked=bool(data["locked"]) if "locked" in data else bool(known and known.locked),
        project_id=text(data, "tenant_id"),
        metadata={key: str(value) for key, value in metadata.items()},
        pinned_zone=known.pinned_zone if known and extended else "",
        extra_specs=texts(flavor.get("extra_specs"), "extra_specs") if extended else {},
        created_at_s=_seconds(created),
        scheduler_hints=known.scheduler_hints if known and extended else {},
        in_flux=in_flux(data),
    )


def _seconds(at: datetime | None) -> int:
    seconds = int(at.timestamp()) if at else 0
    return seconds if 0 <= seconds <= _LAST_SECOND else 0


def in_flux(data: Data) -> bool:
    """Whether Nova is doing something with the server."""
    return data.get("task_state") is not None


def fields_of(value: Any, name: str) -> Data:
    """The fields of an object inside a payload. Malformed."""
    fields = value.get("nova_object.data") if isinstance(value, dict) else None
    if not isinstance(fields, dict):
        raise Malformed(f"{name} is missing")
    return fields


def number(data: Data, field: str) -> int:
    """A whole number, not negative. Malformed."""
    value = data.get(field)
    if type(value) is not int or not 0 <= value < _TOO_MANY:
        raise Malformed(f"{field} is {value!r}")
    return value


def flag(data: Data, field: str) -> bool:
    """A yes or no. Malformed."""
    value = data.get(field)
    if not isinstance(value, bool):
        raise Malformed(f"{field} is {value!r}")
    return value


def aggregate_id(data: Data) -> int:
    """An aggregate's number. Malformed."""
    return number(data, "id")


def aggregate(data: Data) -> Aggregate:
    """The aggregate as the event shows it. Malformed."""
    hosts, metadata = data.get("hosts") or [], texts(data.get("metadata"), "metadata")
    if not isinstance(hosts, list) or not all(isinstance(name, str) for name in hosts):
        raise Malformed(f"hosts is {hosts!r}")
    zone = metadata.get("availability_zone")
    return Aggregate(
        id=aggregate_id(data),
        name=text(data, "name"),
        zone=str(zone) if zone else None,
        hosts=frozenset(hosts),
        metadata={key: str(value) for key, value in metadata.items()},
    )


def group_uuid(data: Data) -> str:
    """A server group's uuid. Malformed."""
    return server_uuid(data)


def group(data: Data) -> ServerGroup:
    """The server group as the event shows it. Malformed."""
    members, rules = data.get("members") or [], texts(data.get("rules"), "rules")
    policies = data.get("policies") or [""]
    if not isinstance(members, list) or not all(isinstance(uuid, str) for uuid in members):
        raise Malformed(f"members is {members!r}")
    if not isinstance(policies, list):
        raise Malformed(f"policies is {policies!r}")
    most = rules.get("max_server_per_host")
    try:
        most = int(most) if most else None
    except (ValueError, TypeError, OverflowError):
        raise Malformed(f"max_server_per_host is {most!r}") from None
    if most is not None and not 0 < most < _TOO_MANY:
        raise Malformed(f"max_server_per_host is {most!r}")
    return ServerGroup(
        uuid=group_uuid(data),
        name=text_or_none(data, "name"),
        policy=str(data.get("policy") or policies[0]),
        members=frozenset(members),
        max_per_host=most,
        project_id=text_or_none(data, "project_id"),
    )


def moment(value: Any, name: str) -> datetime | None:
    """A time; None when there is none. Malformed."""
    if not value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise Malformed(f"{name} is {value!r}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
