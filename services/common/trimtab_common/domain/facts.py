"""What a plan relied on against what the cloud shows now (DESIGN 7). Pure.

Decision looks while a plan is only recommended, applier before it begins and before each action. Only what
makes an action wrong or pointless counts. That a server is gone or has moved is not here: its action is
skipped (B-232). A destination that the plan itself opens was closed when it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from trimtab_common.domain.records import Action, Json

Facts = Mapping[str, Json]
_RUNS = {"active", "paused"}
"""Either moves live; which of the two is the user's business."""


class Server(Protocol):
    """A server as it is now; of the flavor 0 is untold."""

    @property
    def uuid(self) -> str:
        """Its key."""
        ...

    @property
    def vm_state(self) -> str:
        """Nova's text."""
        ...

    @property
    def vcpus(self) -> int:
        """Of its flavor."""
        ...

    @property
    def memory_mib(self) -> int:
        """Of its flavor."""
        ...


class Service(Protocol):
    """A host's compute service as it is now."""

    @property
    def host(self) -> str:
        """Its key."""
        ...

    @property
    def status(self) -> str:
        """Enabled or disabled."""
        ...

    @property
    def state(self) -> str:
        """Up or down."""
        ...

    @property
    def disabled_reason(self) -> str | None:
        """Why it is disabled."""
        ...


def changes(
    action: Action, servers: Mapping[str, Server], services: Mapping[str, Service]
) -> list[str]:
    """In words, what an action relies on and what is so no more.

    servers: by uuid; one that is not in it is taken as it was. services: all of them, by host.
    """
    facts, given = action.facts or {}, action.input_parameters
    if action.action_type == "change_nova_service_state":
        service = services.get(str(given.get("resource_name") or facts.get("host")))
        if service is None or given.get("state") != "enabled":
            return []
        return _named(service.host, host_changes(facts, service))
    server = servers.get(str(given.get("resource_id")))
    found = [] if server is None else _named(server.uuid, server_changes(facts, server))
    if given.get("destination_node"):
        found += destination_changes(facts, services.get(str(given["destination_node"])))
    return found


def server_changes(facts: Facts, server: Server) -> list[str]:
    """State and flavor of the server that moves."""
    seen: dict[str, str | int] = {
        "state": server.vm_state,
        "vcpus": server.vcpus,
        "memory_mib": server.memory_mib,
    }
    if {facts.get("state"), server.vm_state} <= _RUNS:
        del seen["state"]
    return [
        f"{name} was {facts[name]}, is {now}"
        for name, now in seen.items()
        if now and facts.get(name) not in (None, "", now)
    ]


def destination_changes(facts: Facts, service: Service | None) -> list[str]:
    """The host that the server goes to was open, and is not any more."""
    if service is None:
        return ["the destination was there, is gone"] if "destination_status" in facts else []
    found = []
    if facts.get("destination_status") == "enabled" != service.status:
        found.append(f"destination {service.host} was enabled, is {service.status}")
    if facts.get("destination_state") == "up" != service.state:
        found.append(f"destination {service.host} was up, is {service.state}")
    return found


def host_changes(facts: Facts, service: Service) -> list[str]:
    """A host to be opened was closed for a reason that is not the present one, or has died."""
    if facts.get("status") != "disabled" or service.status != "disabled":
        return []
    was, now = facts.get("disabled_reason") or "", service.disabled_reason or ""
    found = [] if was == now else [f"disabled_reason was {was!r}, is {now!r}"]
    if facts.get("state") == "up" != service.state:
        found.append(f"state was up, is {service.state}")
    return found


def _named(what: str, found: list[str]) -> list[str]:
    return [f"{what}: {change}" for change in found]
