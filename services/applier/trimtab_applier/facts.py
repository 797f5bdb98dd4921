"""What a plan relied on against what Nova shows now. Pure.

Only what makes an action wrong or pointless counts. That a server is gone or has moved is not here:
its action is skipped (B-232). A destination that the plan itself opens was closed when it was made.
"""

from __future__ import annotations

from collections.abc import Mapping

from trimtab_common.domain.records import Json
from trimtab_common.openstack.nova_writes import ServerView, ServiceView

Facts = Mapping[str, Json]
_RUNS = {"active", "paused"}
"""Either moves live; which of the two is the user's business."""


def server_changes(facts: Facts, server: ServerView) -> list[str]:
    """State and flavor of the server that moves."""
    seen = {"state": server.vm_state, "vcpus": server.vcpus, "memory_mib": server.memory_mib}
    if {facts.get("state"), server.vm_state} <= _RUNS:
        del seen["state"]
    return [
        f"{name} was {facts[name]}, is {now}"
        for name, now in seen.items()
        if now and facts.get(name) not in (None, "", now)
    ]


def destination_changes(facts: Facts, service: ServiceView | None) -> list[str]:
    """The host that the server goes to was open, and is not any more."""
    if service is None:
        return ["the destination was there, is gone"] if "destination_status" in facts else []
    changes = []
    if facts.get("destination_status") == "enabled" != service.status:
        changes.append(f"destination {service.host} was enabled, is {service.status}")
    if facts.get("destination_state") == "up" != service.state:
        changes.append(f"destination {service.host} was up, is {service.state}")
    return changes


def host_changes(facts: Facts, service: ServiceView) -> list[str]:
    """A host to be opened was closed for a reason that is not the present one, or has died."""
    if facts.get("status") != "disabled" or service.status != "disabled":
        return []
    was, now = facts.get("disabled_reason") or "", service.disabled_reason or ""
    changes = [] if was == now else [f"disabled_reason was {was!r}, is {now!r}"]
    if facts.get("state") == "up" != service.state:
        changes.append(f"state was up, is {service.state}")
    return changes
