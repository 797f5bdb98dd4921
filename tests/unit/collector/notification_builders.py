"""Messages as they come from the bus, and a live model to try them on."""

from __future__ import annotations

import itertools
import json
import uuid
from datetime import UTC, datetime

from trimtab_collector.live_model import Delta, LiveModel
from trimtab_collector.notifications.inbox import Inbox
from trimtab_common.domain.changes import HostRow, ServerRow, UpsertHost, UpsertServer
from trimtab_common.runtime.clock import FakeClock

SERVER = "178b0921-8f85-4257-88b6-2e743b5a975c"
_numbers = itertools.count(1)


def enveloped(message):
    """As oslo.messaging puts it on the wire."""
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()


def a_message(event_type, kind, data, **fields):
    return {
        "message_id": str(uuid.UUID(int=next(_numbers))),
        "publisher_id": "nova-compute:a",
        "event_type": event_type,
        "priority": "INFO",
        "payload": {
            "nova_object.name": kind,
            "nova_object.namespace": "nova",
            "nova_object.version": "1.9",
            "nova_object.data": data,
        },
        "timestamp": "2026-01-01 00:00:00.000001",
    } | fields


def instance_event(
    event_type, host="a", *, server=SERVER, vcpus=1, state="active", task_state=None, **fields
):
    data = {
        "task_state": task_state,
        "uuid": server,
        "tenant_id": "p",
        "display_name": "vm",
        "host": host,
        "node": host,
        "state": state,
        "locked": False,
        "image_uuid": "i",
        "metadata": fields.pop("metadata", {}),
        "created_at": "2026-01-01T00:00:00Z",
        "flavor": {
            "nova_object.name": "FlavorPayload",
            "nova_object.namespace": "nova",
            "nova_object.version": "1.4",
            "nova_object.data": {
                "vcpus": vcpus,
                "memory_mb": 64,
                "root_gb": 5,
                "ephemeral_gb": 0,
                "swap": 0,
                "extra_specs": {},
            },
        },
    }
    return a_message(event_type, "InstanceActionPayload", data, **fields)


def service_event(event_type, host="a", *, binary="nova-compute", **fields):
    known = {"disabled", "disabled_reason", "forced_down", "last_seen_up"}
    data = {"host": host, "binary": binary, "disabled": False, "forced_down": False}
    data |= {name: fields.pop(name) for name in known & fields.keys()}
    return a_message(event_type, "ServiceStatusPayload", data, **fields)


def aggregate_event(event_type, number, *, hosts=(), name="racks", **metadata):
    data = {"id": number, "name": name, "hosts": list(hosts), "metadata": metadata}
    return a_message(event_type, "AggregatePayload", data, publisher_id="nova-api:a")


GROUP = "788608ec-ebdc-45c5-bc7f-e5f24ab92c80"


def group_event(event_type, *members, policy="anti-affinity", **fields):
    data = {"uuid": GROUP, "name": "apart", "policy": policy, "policies": [policy]}
    data |= {"members": list(members), "rules": fields.pop("rules", {}), "project_id": "p"}
    return a_message(event_type, "ServerGroupPayload", data, publisher_id="nova-api:a", **fields)


def a_host(name, **fields):
    return HostRow(
        uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        hostname=name,
        **({"inventory": (8, 1024, 100)} | fields),
    )


def a_server(key=SERVER, hostname="a", **fields):
    return ServerRow(uuid=key, hostname=hostname, **({"name": "vm", "demand": (1, 64, 5)} | fields))


class Desk:
    """An inbox on a built model of these rows."""

    def __init__(self, *rows, built=True, extended=False, **options):
        self.clock = FakeClock(datetime(2027, 1, 1, tzinfo=UTC))  # after all events of tests
        self.live = LiveModel(self.clock)
        self.inbox = Inbox(self.live, self.clock, extended=extended, **options)
        changes = [UpsertHost(r) if isinstance(r, HostRow) else UpsertServer(r) for r in rows]
        self.live.publish([Delta(changes=changes, cause="sync")])
        if built:
            self.live.mark_built()

    @property
    def model(self):
        return self.live.model

    def receive(self, *messages):
        self.inbox.receive([enveloped(message) for message in messages])

    def server(self, key=SERVER):
        return self.model.find_server(key)

    def wanted(self):
        servers, hosts = self.inbox.wanted.take()
        return sorted(servers), sorted(hosts)
