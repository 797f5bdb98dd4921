"""Versioned notifications, as Nova sends them: what changed is told on RabbitMQ.

``Teller`` watches the cloud, finds the event in what became of a server or host, and composes the
payload that the real Nova has for it; ``sender.Sender`` carries it to the exchange. A host that dies
is told by nobody, as in reality.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trimtab_fakecloud.clock import iso_z, utc
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.groups import ServerGroup
from trimtab_fakecloud.hosts import Aggregate, Host
from trimtab_fakecloud.rest.ironic import node_view
from trimtab_fakecloud.servers import Flavor, Server, TaskState, VmState
from trimtab_fakecloud.volumes import Volume

TOPIC = "versioned_notifications"
PLAIN_TOPIC = "notifications"
IRONIC_TOPIC = "ironic_versioned_notifications"
INFO, ERROR = "INFO", "ERROR"
Message = dict[str, Any]

_STARTS = {
    TaskState.SPAWNING: "instance.create.start",
    TaskState.MIGRATING: "instance.live_migration_pre.start",
    TaskState.RESIZE_PREP: "instance.resize_prep.start",
    TaskState.RESIZE_MIGRATING: "instance.resize.start",
    TaskState.RESIZE_FINISH: "instance.resize_finish.start",
    TaskState.RESIZE_REVERTING: "instance.resize_revert.start",
    TaskState.POWERING_OFF: "instance.power_off.start",
    TaskState.POWERING_ON: "instance.power_on.start",
    TaskState.PAUSING: "instance.pause.start",
    TaskState.UNPAUSING: "instance.unpause.start",
    TaskState.REBOOTING: "instance.reboot.start",
    TaskState.DELETING: "instance.delete.start",
}
_ENDS = {
    TaskState.SPAWNING: "instance.create.end",
    TaskState.RESIZE_FINISH: "instance.resize_finish.end",
    TaskState.RESIZE_REVERTING: "instance.resize_revert.end",
    TaskState.POWERING_OFF: "instance.power_off.end",
    TaskState.POWERING_ON: "instance.power_on.end",
    TaskState.PAUSING: "instance.pause.end",
    TaskState.UNPAUSING: "instance.unpause.end",
    TaskState.REBOOTING: "instance.reboot.end",
}
_POWER = {0: "pending", 1: "running", 3: "paused", 4: "shutdown"}


@dataclass(frozen=True, slots=True)
class _Look:
    """What of a server is worth an event."""

    vm_state: VmState
    task_state: TaskState | None
    host: str | None
    locked: bool

    @classmethod
    def of(cls, server: Server) -> "_Look":
        return cls(server.vm_state, server.task_state, server.host, server.locked)


class Teller:
    """Tells what changes from now on; a ``LoadWatcher`` of the cloud."""

    def __init__(self, cloud: Cloud, send: Callable[[str, Message], None]) -> None:
        self._cloud = cloud
        self._send = send
        self._servers = {key: _Look.of(server) for key, server in cloud.servers.items()}
        self._hosts = {name: _host_look(host) for name, host in cloud.hosts.items()}
        cloud.watchers.append(self)
        cloud.groups.watchers.append(self.group_changed)
        cloud.aggregate_watchers.append(self.aggregate_changed)
        cloud.storage.watchers.append(self.volume_changed)
        cloud.node_watchers.append(self.node_changed)

    def host_changed(self, host: Host) -> None:
        """A host came, or what operators set on its service changed."""
        look, before = _host_look(host), self._hosts.get(host.name)
        self._hosts[host.name] = look
        if look != before:
            event_type = "service.update" if before else "service.create"
            self._tell(event_type, INFO, f"nova-compute:{host.name}", self._service(host))

    def server_changed(self, server: Server) -> None:
        """A server came, changed or went."""
        look, before = _Look.of(server), self._servers.get(server.id)
        self._servers[server.id] = look
        if server.is_deleted:
            del self._servers[server.id]
        for event_type in _events(before, look):
            priority = ERROR if event_type.endswith(".error") else INFO
            by_api = event_type in ("instance.lock", "instance.unlock") or server.host is None
            publisher = "nova-api:controller" if by_api else f"nova-compute:{server.host}"
            self._tell(event_type, priority, publisher, self._instance(event_type, server))

    def group_changed(self, what: str, group: ServerGroup) -> None:
        """A server group came, got a member or went."""
        most = group.max_per_host
        data = {
            "uuid": group.id,
            "name": group.name,
            "project_id": group.project_id,
            "user_id": group.user_id,
            "policies": [group.policy],
            "policy": group.policy,
            "rules": {"max_server_per_host": str(most)} if most else {},
            "members": list(group.members),
            "hosts": None,
        }
        payload = _object("ServerGroupPayload", "1.1", data)
        self._tell(f"server_group.{what}", INFO, "nova-api:controller", payload)

    def aggregate_changed(self, what: str, aggregate: Aggregate) -> None:
        """An aggregate came, changed or went."""
        data = {
            "id": aggregate.number,
            "uuid": aggregate.uuid,
            "name": aggregate.name,
            "hosts": list(aggregate.hosts),
            "metadata": dict(aggregate.metadata),
        }
        payload = _object("AggregatePayload", "1.1", data)
        self._tell(f"aggregate.{what}.end", INFO, "nova-api:controller", payload)

    def volume_changed(self, what: str, volume: Volume) -> None:
        """A volume came, changed or went, as Cinder tells it; then what its pool has left."""
        storage = self._cloud.storage
        payload = {
            "tenant_id": volume.project_id,
            "host": volume.pool,
            "user_id": volume.user_id,
            "availability_zone": "nova",
            "volume_id": volume.id,
            "volume_type": volume.type.id if volume.type else None,
            "display_name": volume.name,
            "created_at": f"{iso_z(volume.created_at).removesuffix('Z')}+00:00",
            "status": volume.status,
            "snapshot_id": volume.snapshot_id,
            "size": volume.size_gb,
            "metadata": [{"key": k, "value": v} for k, v in volume.metadata.items()],
            "volume_attachment": [
                {"id": own, "instance_uuid": server, "attach_status": "attached"}
                for server, own in volume.attachments
            ],
        }
        publisher = f"volume.{volume.pool or 'storage'}"
        self._tell(f"volume.{what}", INFO, publisher, payload, topic=PLAIN_TOPIC)
        pool = storage.pools.get(volume.pool or "")
        if pool is not None:
            taken = storage.allocated_gb(pool)
            sums = {
                "name_to_id": pool.name,
                "total": float(pool.total_gb),
                "free": float(pool.total_gb - taken),
                "allocated": float(taken),
                "provisioned": float(taken),
                "virtual_free": pool.total_gb * 1.5 - taken,
                "reported_at": iso_z(self._cloud.now()),
            }
            self._tell("capacity.pool", INFO, "capacity.storage", sums, topic=PLAIN_TOPIC)

    def node_changed(self, what: str, host: Host) -> None:
        """A machine changed, as Ironic tells it."""
        payload = {
            "ironic_object.name": "NodeCRUDPayload",
            "ironic_object.namespace": "ironic",
            "ironic_object.version": "1.13",
            "ironic_object.data": node_view(host),
        }
        publisher = "ironic-conductor.controller"
        self._tell(f"baremetal.node.{what}", INFO, publisher, payload, topic=IRONIC_TOPIC)

    def _tell(
        self,
        event_type: str,
        priority: str,
        publisher: str,
        payload: Message,
        *,
        topic: str = TOPIC,
    ) -> None:
        now = utc(self._cloud.now())
        message = {
            "message_id": str(uuid.uuid4()),
            "publisher_id": publisher,
            "event_type": event_type,
            "priority": priority,
            "payload": payload,
            "timestamp": now.strftime("%Y-%m-%d %H:%M:%S.%f"),
            "_unique_id": uuid.uuid4().hex,
        }
        self._send(f"{topic}.{priority.lower()}", message)

    def _service(self, host: Host) -> Message:
        return _object(
            "ServiceStatusPayload",
            "1.1",
            {
                "host": host.name,
                "binary": "nova-compute",
                "topic": "compute",
                "report_count": 1,
                "disabled": host.disabled,
                "disabled_reason": host.disabled_reason,
                "availability_zone": None,
                "last_seen_up": iso_z(self._cloud.now()) if host.is_up else None,
                "forced_down": host.forced_down,
                "version": 74,
                "uuid": host.service_uuid,
            },
        )

    def _instance(self, event_type: str, server: Server) -> Message:
        kind, version = "InstanceActionPayload", "1.9"
        if event_type.startswith("instance.create."):
            kind, version = "InstanceCreatePayload", "1.13"
        return _object(
            kind,
            version,
            {
                "uuid": server.id,
                "user_id": server.user_id,
                "tenant_id": server.project_id,
                "display_name": server.name,
                "display_description": server.description,
                "host_name": server.name,
                "host": server.host,
                "node": server.host,
                "availability_zone": server.zone or None,
                "flavor": _flavor(server.flavor),
                "image_uuid": server.image_id or "",
                "created_at": iso_z(server.created_at),
                "launched_at": _maybe(server.launched_at),
                "terminated_at": _maybe(server.deleted_at),
                "deleted_at": _maybe(server.deleted_at),
                "updated_at": iso_z(server.updated_at),
                "state": server.vm_state.value,
                "power_state": _POWER[server.power_state],
                "task_state": server.task_state.value if server.task_state else None,
                "progress": 0,
                "ip_addresses": [],
                "block_devices": [],
                "metadata": dict(server.metadata),
                "locked": server.locked,
                "locked_reason": server.locked_reason,
                "fault": None,
            },
        )


def _events(before: _Look | None, now: _Look) -> list[str]:
    """Names of what happened between two looks at a server."""
    if now.vm_state is VmState.DELETED:
        return ["instance.delete.end"]
    if before is None:
        failed = now.vm_state is VmState.ERROR
        return ["instance.create.error" if failed else "instance.create.start"]
    found = []
    if now.locked is not before.locked:
        found.append("instance.lock" if now.locked else "instance.unlock")
    if now.task_state is not before.task_state:
        if now.task_state in _STARTS:
            found.append(_STARTS[now.task_state])
        elif now.task_state is None and before.task_state is not None:
            found.append(_end(before.task_state, before, now))
    elif before.vm_state is VmState.RESIZED and now.vm_state is not VmState.RESIZED:
        found.append("instance.resize_confirm.end")
    return found


def _end(task: TaskState, before: _Look, now: _Look) -> str:
    if task is TaskState.MIGRATING:
        moved = now.host != before.host
        return f"instance.live_migration_{'post_dest' if moved else 'rollback'}.end"
    if task is TaskState.RESIZE_FINISH and now.vm_state is not VmState.RESIZED:
        return "instance.resize.error"
    return _ENDS.get(task, "instance.resize.error")


def _host_look(host: Host) -> tuple[bool, str | None, bool]:
    return (host.disabled, host.disabled_reason, host.forced_down)


def _maybe(at: float | None) -> str | None:
    return None if at is None else iso_z(at)


def _flavor(flavor: Flavor) -> Message:
    return _object(
        "FlavorPayload",
        "1.4",
        {
            "flavorid": flavor.id,
            "name": flavor.name,
            "memory_mb": flavor.memory_mib,
            "vcpus": flavor.vcpus,
            "root_gb": flavor.disk_gib,
            "ephemeral_gb": 0,
            "swap": 0,
            "rxtx_factor": 1.0,
            "vcpu_weight": 0,
            "disabled": False,
            "is_public": True,
            "extra_specs": dict(flavor.extra_specs),
            "projects": None,
            "description": None,
        },
    )


def _object(name: str, version: str, data: Message) -> Message:
    return {
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": version,
        "nova_object.data": data,
    }
