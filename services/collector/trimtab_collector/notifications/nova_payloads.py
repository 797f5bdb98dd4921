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
from trimtab_common.domain.snapshot import Aggregate, ServerState

Data = Mapping[str, Any]
_MIB_PER_GIB = 1024
_TOO_MANY = 1 << 40  # no size of anything; larger ones would not fit the model's columns
_GONE = frozenset({"deleted", "soft-delete"})


def text(data: Data, field: str) -> str:
    """A field that must be a text with something in it. Malformed."""
    value = data.get(field)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{field} is {value!r}")
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
    if state_text in _GONE:
        return None
    flavor = fields_of(data.get("flavor"), "flavor")
    metadata = data.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise Malformed(f"metadata is {metadata!r}")
    root_gib = number(flavor, "root_gb") if data.get("image_uuid") else 0
    swap_gib = -(-number(flavor, "swap") // _MIB_PER_GIB)
    state = ServerState.from_nova(state_text)
    created = moment(data.get("created_at"), "created_at")
    return ServerRow(
        uuid=server_uuid(data),
        name=str(data.get("display_name") or ""),
        hostname=str(data.get("host") or ""),
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
        extra_specs=(flavor.get("extra_specs") or {}) if extended else {},
        created_at_s=int(created.timestamp()) if created else 0,
    )


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
    hosts, metadata = data.get("hosts") or [], data.get("metadata") or {}
    if not isinstance(hosts, list) or not isinstance(metadata, dict):
        raise Malformed("hosts or metadata are of another kind")
    return Aggregate(
        id=aggregate_id(data),
        name=text(data, "name"),
        zone=metadata.get("availability_zone"),
        hosts=frozenset(hosts),
        metadata={key: str(value) for key, value in metadata.items()},
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
