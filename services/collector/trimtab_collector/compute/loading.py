"""Which part of the cloud the compute model holds: all of it, or the hosts that audits asked for.

A scope belongs to the request that brings it (C-047); what is loaded only ever grows (C-046). Host
aggregates and availability zones limit it, exclusions never do (C-048).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trimtab_common.domain import scope as audit_scope
from trimtab_common.domain.compute_terms import Aggregate
from trimtab_common.openstack.nova import ServiceRecord

WILDCARD = "*"


@dataclass(frozen=True, slots=True)
class LoadScope:
    """Hosts by aggregate (id, name or "*") and by zone (name or "*"); both empty: all hosts."""

    aggregates: frozenset[int | str] = frozenset()
    zones: frozenset[str] = frozenset()

    @classmethod
    def of(cls, scope: Any) -> LoadScope:
        """What an audit with this scope needs. InvalidArgument when it is no scope."""
        aggregates: set[int | str] = set()
        zones: set[str] = set()
        for rule in audit_scope.compute_rules(scope):
            for entry in rule.get("host_aggregates", ()):
                aggregates.add(entry["id"] if "id" in entry else entry["name"])
            zones |= {entry["name"] for entry in rule.get("availability_zones", ())}
        return cls(frozenset(aggregates), frozenset(zones))

    @property
    def is_everything(self) -> bool:
        """Whether nothing limits it."""
        return not self.aggregates and not self.zones

    def with_(self, other: LoadScope) -> LoadScope:
        """Both together."""
        if self.is_everything or other.is_everything:
            return EVERYTHING
        return LoadScope(self.aggregates | other.aggregates, self.zones | other.zones)

    def hosts(
        self, aggregates: Iterable[Aggregate], services: Iterable[ServiceRecord]
    ) -> frozenset[str]:
        """Names of the hosts in it."""
        found: set[str] = set()
        for aggregate in aggregates:
            if self.aggregates & {aggregate.id, aggregate.name, WILDCARD}:
                found |= aggregate.hosts
        found |= {row.host for row in services if self.zones & {row.zone, WILDCARD}}
        return frozenset(found)


EVERYTHING = LoadScope()


class Loaded:
    """What is wanted and what is there.

    scope: None until somebody asks (C-044). hosts: what a read brought, None for all. `asked` is set
    once there is a scope.
    """

    def __init__(self, scope: LoadScope | None = EVERYTHING) -> None:
        self.asked = asyncio.Event()
        self.scope: LoadScope | None = None
        self.hosts: frozenset[str] | None = frozenset()
        self.read: LoadScope | None = None
        if scope is not None:
            self.want(scope)
        if self.scope is not None and self.scope.is_everything:
            self.brought(None)

    def want(self, scope: LoadScope) -> None:
        """Adds this scope to what is wanted; a read has to follow."""
        self.scope = scope if self.scope is None else self.scope.with_(scope)
        self.asked.set()

    def brought(self, hosts: frozenset[str] | None) -> None:
        """A read brought all that was wanted."""
        self.hosts, self.read = hosts, self.scope

    @property
    def is_behind(self) -> bool:
        """Whether more is wanted than was read."""
        return self.scope != self.read

    def admits(self, hostname: str) -> bool:
        """Whether what is on this host belongs into the model."""
        return self.hosts is None or hostname in self.hosts
