"""The table of Ironic's events: what each does to the baremetal model (C-083)."""

from __future__ import annotations

import uuid as uuid_module
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab_collector.baremetal.reading import machine_row
from trimtab_collector.element_reads import key, key_of, lives
from trimtab_collector.notifications.envelope import Malformed, Notification, versioned
from trimtab_collector.notifications.nova_payloads import text_or_none, texts
from trimtab_collector.notifications.outcome import Dialect, EventRule, Outcome
from trimtab_common.domain.baremetal import NODE
from trimtab_common.domain.elements import Remove, Upsert
from trimtab_common.openstack.ironic import machine_of

Handler = Callable[[Notification], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A line of the table."""

    handler: Handler
    priority: str = "INFO"
    revives: bool = False
    partial: bool = False
    at_once: bool = False

    def key(self, event: Notification) -> str:
        """Names the machine. Malformed."""
        return key(NODE, machine_uuid(event.data))

    def handle(self, event: Notification, known: Any, extended: bool) -> Outcome:  # noqa: ARG002, FBT001, as EventRule has it
        """What the event means."""
        return self.handler(event)


def machine_uuid(data: Mapping[str, Any]) -> str:
    """The machine's uuid. Malformed."""
    value = data.get("uuid")
    try:
        return str(uuid_module.UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise Malformed(f"uuid is {value!r}") from None


def upsert_machine(event: Notification) -> Outcome:
    """Adds or replaces the machine with what the event says."""
    data = dict(event.data)
    data["uuid"] = machine_uuid(data)
    for field in _TEXTS:
        text_or_none(data, field)
    data["extra"] = texts(data.get("extra"), "extra")
    if not isinstance(data.get("maintenance"), bool):
        raise Malformed(f"maintenance is {data.get('maintenance')!r}")
    return Outcome(changes=(Upsert(machine_row(machine_of(data))),))


def remove_machine(event: Notification) -> Outcome:
    """Removes the machine."""
    return Outcome(changes=(Remove(NODE, machine_uuid(event.data)),))


_TEXTS = (
    "name",
    "power_state",
    "maintenance_reason",
    "instance_uuid",
    "fault",
    "storage_interface",
)
_UPSERT = Rule(handler=upsert_machine)
TABLE: Mapping[str, EventRule] = {
    "baremetal.node.create.end": _UPSERT,
    "baremetal.node.update.end": _UPSERT,
    "baremetal.node.maintenance_set.end": _UPSERT,
    "baremetal.node.power_set.end": _UPSERT,
    "baremetal.node.power_state_corrected.success": _UPSERT,
    "baremetal.node.delete.end": Rule(handler=remove_machine),
}

IRONIC = Dialect(
    table=TABLE,
    publishers=("ironic-",),
    decode=lambda body: versioned(body, "ironic", {}),
    key_of=key_of,
    lives=lives,
)
"""Ironic and the baremetal model."""
