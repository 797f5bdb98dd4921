"""How Nova shows a server, by microversion."""

import hashlib
from typing import Any

from starlette.requests import Request

from trimtab_fakecloud.clock import iso_micro, iso_z
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.rest.gate import caller_of
from trimtab_fakecloud.rest.nova.request import at_least, links
from trimtab_fakecloud.servers import Server

_WITH_PROGRESS = frozenset({"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"})
_WITH_FAULT = frozenset({"ERROR", "DELETED"})


def brief(request: Request, server: Server) -> dict[str, Any]:
    """As in ``GET /servers``."""
    return {
        "id": server.id,
        "name": server.name,
        "links": links(request, f"servers/{server.id}"),
    }


def detailed(
    cloud: Cloud, request: Request, server: Server, *, alone: bool = False
) -> dict[str, Any]:
    """As in ``GET /servers/detail``; ``alone``: as in ``GET /servers/{id}``."""
    shown: dict[str, Any] = {
        **brief(request, server),
        "accessIPv4": "",
        "accessIPv6": "",
        "addresses": {},
        "created": iso_z(server.created_at),
        "updated": iso_z(server.updated_at),
        "flavor": _flavor(request, server),
        "hostId": _host_id(server),
        "image": _image(request, server),
        "metadata": server.metadata,
        "status": server.status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "config_drive": "",
        "key_name": None,
        "security_groups": [{"name": "default"}],
        "os-extended-volumes:volumes_attached": _volumes(request, server),
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": server.zone,
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "OS-SRV-USG:launched_at": iso_micro(server.launched_at),
        "OS-SRV-USG:terminated_at": iso_micro(server.deleted_at),
    }
    if shown["status"] in _WITH_PROGRESS:
        shown["progress"] = 0
    if shown["status"] in _WITH_FAULT and server.fault is not None:
        shown["fault"] = {
            "code": server.fault.code,
            "created": iso_z(server.fault.at),
            "message": server.fault.message,
        }
    if caller_of(request).token.is_admin:
        _add_attributes(cloud, request, server, shown)
    _add_by_version(cloud, request, server, shown, alone=alone)
    return shown


def instance_name(server: Server) -> str:
    """The hypervisor's name of it."""
    return f"instance-{server.id[:8]}"


def _add_attributes(cloud: Cloud, request: Request, server: Server, shown: dict[str, Any]) -> None:
    """What only operators see."""
    prefix = "OS-EXT-SRV-ATTR"
    shown[f"{prefix}:host"] = server.host
    shown[f"{prefix}:hypervisor_hostname"] = server.host
    shown[f"{prefix}:instance_name"] = instance_name(server)
    if at_least(request, 3):
        shown[f"{prefix}:hostname"] = server.name
        shown[f"{prefix}:kernel_id"] = ""
        shown[f"{prefix}:ramdisk_id"] = ""
        shown[f"{prefix}:launch_index"] = 0
        shown[f"{prefix}:reservation_id"] = f"r-{server.id[:8]}"
        shown[f"{prefix}:root_device_name"] = "/dev/vda"
        shown[f"{prefix}:user_data"] = None
    if at_least(request, 16):
        shown["host_status"] = _host_status(cloud, server)


def _add_by_version(
    cloud: Cloud, request: Request, server: Server, shown: dict[str, Any], *, alone: bool
) -> None:
    if at_least(request, 9):
        shown["locked"] = server.locked
    if at_least(request, 19):
        shown["description"] = server.description
    if at_least(request, 26):
        shown["tags"] = list(server.tags)
    if at_least(request, 63):
        shown["trusted_image_certificates"] = None
    if alone and at_least(request, 71):
        groups = cloud.groups.all()
        shown["server_groups"] = [group.id for group in groups if server.id in group.members]
    if at_least(request, 73):
        shown["locked_reason"] = server.locked_reason
    if at_least(request, 90):
        shown.setdefault("OS-EXT-SRV-ATTR:hostname", server.name)
    if at_least(request, 96):
        shown["pinned_availability_zone"] = server.pinned_zone
    if at_least(request, 100):
        shown["scheduler_hints"] = dict(server.scheduler_hints)


def _host_status(cloud: Cloud, server: Server) -> str:
    host = cloud.hosts.get(server.host or "")
    if host is None:
        return ""
    if host.forced_down:
        return "DOWN"
    if not host.is_up:
        return "UNKNOWN"
    return "MAINTENANCE" if host.disabled else "UP"


def _flavor(request: Request, server: Server) -> dict[str, Any]:
    flavor = server.flavor
    if not at_least(request, 47):
        return {"id": flavor.id, "links": links(request, f"flavors/{flavor.id}")[1:]}
    embedded = {
        "vcpus": flavor.vcpus,
        "ram": flavor.memory_mib,
        "disk": flavor.disk_gib,
        "ephemeral": 0,
        "swap": 0,
        "original_name": flavor.name,
    }
    return {**embedded, "extra_specs": dict(flavor.extra_specs)}


def _image(request: Request, server: Server) -> Any:
    if server.image_id is None:
        return ""
    path = f"images/{server.image_id}"
    return {"id": server.image_id, "links": links(request, path)[1:]}


def _volumes(request: Request, server: Server) -> list[dict[str, Any]]:
    if server.image_id is not None:
        return []
    # the root volume of a server that has no image
    root: dict[str, Any] = {"id": server.id}
    return [{**root, "delete_on_termination": False} if at_least(request, 3) else root]


def _host_id(server: Server) -> str:
    if not server.host:
        return ""
    return hashlib.sha224(f"{server.project_id}{server.host}".encode()).hexdigest()
