"""Builds the cloud that a cluster file describes (format ``peer-cluster/1``)."""

import math
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from trimtab_fakecloud.clock import parse_iso
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.errors import ClusterFileError
from trimtab_fakecloud.hosts import DISABLED_TRAIT, Host, Inventory, inventories
from trimtab_fakecloud.servers import Flavor, Server, VmState
from trimtab_fakecloud.tokens import USERS, stable_id

FORMAT = "peer-cluster/1"
_STATES = {
    "active": VmState.ACTIVE,
    "paused": VmState.PAUSED,
    "stopped": VmState.STOPPED,
    "error": VmState.ERROR,
}
Row = Mapping[str, Any]


def load(cloud: Cloud, path: Path) -> None:
    """Fill an empty cloud from a file.

    Raises:
        ClusterFileError: it cannot be read, or says something that cannot be.
    """
    content = _read(path)
    for index, row in enumerate(_rows(content, "nodes", path)):
        _add_host(cloud, row, index)
    flavors: dict[tuple[int, int, int], Flavor] = {}
    for row in _rows(content, "instances", path):
        _add_server(cloud, row, flavors)
    names = list(cloud.hosts)
    for zone, members in (("az1", names[::2]), ("az2", names[1::2])):
        cloud.add_aggregate(zone, members, {"availability_zone": zone})
    for server in cloud.servers.values():
        server.zone = cloud.zone_of(server.host)


def _read(path: Path) -> Row:
    try:
        content = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ClusterFileError(f"cannot read {path}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        # NaN and Infinity, which other writers let through, end here too
        raise ClusterFileError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ClusterFileError(f'{path} has no "format": "{FORMAT}"')
    return content


def _rows(content: Row, name: str, path: Path) -> list[Row]:
    rows = content.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ClusterFileError(f"{path}: {name} must be a list of objects")
    return rows


def _add_host(cloud: Cloud, row: Row, index: int) -> None:
    name = _text(row, "hostname", f"node {index}")
    where = f"node {name}"
    if name in cloud.hosts:
        raise ClusterFileError(f"{where} is there twice")
    disabled = _choice(row, "status", ("enabled", "disabled"), where) == "disabled"
    cloud.add_host(
        Host(
            name=name,
            number=index + 1,
            uuid=_uuid(row, where),
            service_uuid=str(uuid.UUID(stable_id("service", name))),
            inventories=inventories(
                vcpus=_inventory(row, "vcpus", "vcpu", where),
                memory_mib=_inventory(row, "memory_mb", "memory_mb", where),
                disk_gib=_inventory(row, "disk_gb", "disk_gb", where),
            ),
            is_up=_choice(row, "state", ("up", "down"), where) == "up",
            disabled=disabled,
            disabled_reason=row.get("disabled_reason") if disabled else None,
            is_powered_on=row.get("power_state", "on") == "on",
            updated_at=cloud.began_at - 600,
            traits={DISABLED_TRAIT} if disabled else set(),
        )
    )


def _add_server(cloud: Cloud, row: Row, flavors: dict[tuple[int, int, int], Flavor]) -> None:
    name = _text(row, "name", "an instance")
    where = f"instance {name}"
    host = _text(row, "host", where)
    if host not in cloud.hosts:
        raise ClusterFileError(f"{where} is on an unknown host: {host}")
    size = (
        int(_number(row, "vcpus", where)),
        int(_number(row, "memory_mb", where)),
        int(_number(row, "disk_gb", where)),
    )
    if size not in flavors:
        flavor_id = str(len(flavors) + 1)
        flavors[size] = cloud.flavors[flavor_id] = Flavor(
            flavor_id, f"c{size[0]}.m{size[1]}.d{size[2]}", *size
        )
    server_id = _uuid(row, where)
    if server_id in cloud.servers:
        raise ClusterFileError(f"{where}: uuid {server_id} is there twice")
    metrics = row.get("metrics") or {}
    created_at = _moment(row, where)
    cloud.add_server(
        Server(
            id=server_id,
            name=name,
            project_id=_text(row, "project_id", where),
            user_id=USERS[2].id,
            flavor=flavors[size],
            host=host,
            created_at=created_at,
            updated_at=created_at,
            launched_at=created_at,
            vm_state=_STATES[_choice(row, "state", tuple(_STATES), where)],
            locked=bool(row.get("locked", False)),
            metadata={str(k): str(v) for k, v in (row.get("metadata") or {}).items()},
            cpu_pct=_number(metrics, "instance_cpu_usage", where),
            memory_used_mib=_number(metrics, "instance_ram_usage", where),
        )
    )


def _inventory(row: Row, total: str, prefix: str, where: str) -> Inventory:
    return Inventory(
        total=int(_number(row, total, where)),
        reserved=int(_number(row, f"{prefix}_reserved", where)),
        allocation_ratio=_number(
            row, f"{prefix.removesuffix('_mb').removesuffix('_gb')}_ratio", where
        ),
    )


def _number(row: Row, name: str, where: str) -> float:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClusterFileError(f"{where}: {name} must be a number, not {value!r}")
    if not math.isfinite(value) or value < 0:
        raise ClusterFileError(f"{where}: {name} must be finite and at least 0, not {value!r}")
    return float(value)


def _text(row: Row, name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise ClusterFileError(f"{where}: {name} must be a text, not {value!r}")
    return value


def _choice(row: Row, name: str, allowed: tuple[str, ...], where: str) -> str:
    value = row.get(name)
    if value not in allowed:
        raise ClusterFileError(
            f"{where}: {name} must be one of {', '.join(allowed)}, not {value!r}"
        )
    return str(value)


def _uuid(row: Row, where: str) -> str:
    try:
        return str(uuid.UUID(_text(row, "uuid", where)))
    except ValueError as error:
        if isinstance(error, ClusterFileError):
            raise
        raise ClusterFileError(f"{where}: uuid {row['uuid']!r} is none") from None


def _moment(row: Row, where: str) -> float:
    text = _text(row, "created", where)
    try:
        return parse_iso(text)
    except ValueError:
        raise ClusterFileError(f"{where}: created {text!r} is no ISO 8601 time") from None
