"""Audit scope on the storage and baremetal models (C-106..C-109): what an audit of them sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab_common.domain import baremetal, storage
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.scope import WILDCARD, WildcardCharacterIsUsed, normalise
from trimtab_common.domain.storage import PoolRow, StorageNodeRow, VolumeRow, node_of

Rules = Sequence[Mapping[str, Any]]


def _closed(properties: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    result = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return result | more


def _list_of(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(item)}


_TEXT = {"type": "string"}
_NAMED = _list_of(_closed({"name": _TEXT}, required=["name"]))
_BY_UUID = _list_of(_closed({"uuid": _TEXT}, required=["uuid"]))

STORAGE_SCOPE_SCHEMA: Mapping[str, Any] = _list_of(
    _closed(
        {
            "availability_zones": _NAMED,
            "volume_types": _NAMED,
            "exclude": _list_of(
                _closed({"storage_pools": _NAMED, "volumes": _BY_UUID, "projects": _BY_UUID})
            ),
        }
    )
)
"""JSON schema (draft 4) of the value of `storage` in an audit scope (C-086, C-088)."""

BAREMETAL_SCOPE_SCHEMA: Mapping[str, Any] = _list_of(
    _closed({"exclude": _list_of(_closed({"ironic_nodes": _BY_UUID}))})
)
"""JSON schema (draft 4) of the value of `baremetal` in an audit scope (C-087)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopedElements:
    """The part of a model that an audit sees, and what its scope named in vain."""

    snapshot: ElementSnapshot
    warnings: tuple[str, ...] = ()


def rules_of(scope: Any, model: str) -> Rules:
    """The rules of the first item with a non-empty list for this model; [] when there is none."""
    for item in normalise(scope):
        if item.get(model):
            return list(item[model])
    return []


def check_storage_rules(rules: Rules) -> None:
    """Raise for a wildcard beside other names (C-094)."""
    for rule in rules:
        for what in ("availability_zones", "volume_types"):
            names = [entry["name"] for entry in rule.get(what, ())]
            if WILDCARD in names and len(names) > 1:
                raise WildcardCharacterIsUsed(
                    f"You shouldn't use any other names of {what} if you use wildcard character."
                )


def scoped_storage(snapshot: ElementSnapshot, scope: Any) -> ScopedElements:
    """The storage model as this scope lets an audit see it (C-106). Linear in its size."""
    rules = rules_of(scope, "storage")
    if not rules:
        return ScopedElements(snapshot=snapshot)
    check_storage_rules(rules)
    warnings: list[str] = []
    nodes = _kept_nodes(snapshot, rules, warnings)
    known = {node.host for node in snapshot.of(storage.NODE)}
    gone_nodes = known - {node.host for node in nodes}
    excluded = _Excluded(rules)
    pools = [
        pool
        for pool in snapshot.of(storage.POOL)
        if node_of(pool.name) not in gone_nodes and pool.name not in excluded.pools
    ]
    gone_pools = {pool.name for pool in snapshot.of(storage.POOL)} - {pool.name for pool in pools}
    volumes = [
        volume
        for volume in snapshot.of(storage.VOLUME)
        if volume.pool not in gone_pools
        and node_of(volume.pool) not in gone_nodes
        and volume.uuid not in excluded.volumes
        and _plain(volume.project_id) not in excluded.projects
    ]
    warnings += excluded.unknown(snapshot)
    return _cut(
        snapshot,
        {
            storage.NODE: nodes,
            storage.POOL: pools,
            storage.VOLUME: volumes,
            storage.VOLUME_TYPE: snapshot.of(storage.VOLUME_TYPE),
        },
        tuple(warnings),
    )


def scoped_baremetal(snapshot: ElementSnapshot, scope: Any) -> ScopedElements:
    """The baremetal model without the nodes that this scope excludes (C-108)."""
    rules = rules_of(scope, "baremetal")
    barred = {
        entry["uuid"]
        for rule in rules
        for exclude in rule.get("exclude", ())
        for entry in exclude.get("ironic_nodes", ())
    }
    if not barred:
        return ScopedElements(snapshot=snapshot)
    rows = snapshot.of(baremetal.NODE)
    unknown = sorted(barred - {row.uuid for row in rows})
    kept = [row for row in rows if row.uuid not in barred]
    warnings = tuple([f"Baremetal node {uuid} is not in the model." for uuid in unknown])
    return _cut(snapshot, {baremetal.NODE: kept}, warnings)


def _kept_nodes(
    snapshot: ElementSnapshot, rules: Rules, warnings: list[str]
) -> list[StorageNodeRow]:
    nodes: list[StorageNodeRow] = list(snapshot.of(storage.NODE))
    includes, kept = False, set[str]()
    for rule in rules:
        for entry in rule.get("availability_zones", ()):
            found = {row.host for row in nodes if entry["name"] in (WILDCARD, row.zone)}
            if not found:
                warnings.append(f"Availability zone {entry['name']} has no storage node.")
            kept |= found
        for entry in rule.get("volume_types", ()):
            wanted = entry["name"]
            found = {
                row.host
                for row in nodes
                if wanted in row.volume_types or (wanted == WILDCARD and row.volume_types)
            }
            if not found:
                warnings.append(f"Volume type {wanted} is offered by no storage node.")
            kept |= found
        includes = includes or "availability_zones" in rule or "volume_types" in rule
    if not includes:
        return nodes
    if not kept:
        warnings.append("The scope contains no storage node of the model.")
    return [row for row in nodes if row.host in kept]


class _Excluded:
    """What the exclusions of all rules name together."""

    def __init__(self, rules: Rules) -> None:
        entries = [entry for rule in rules for entry in rule.get("exclude", ())]
        self.pools = {item["name"] for e in entries for item in e.get("storage_pools", ())}
        self.volumes = {item["uuid"].lower() for e in entries for item in e.get("volumes", ())}
        self.projects = {_plain(item["uuid"]) for e in entries for item in e.get("projects", ())}

    def unknown(self, snapshot: ElementSnapshot) -> list[str]:
        """A warning for each that is not in the model."""
        pools: tuple[PoolRow, ...] = snapshot.of(storage.POOL)
        volumes: tuple[VolumeRow, ...] = snapshot.of(storage.VOLUME)
        lost = sorted(self.pools - {row.name for row in pools})
        missing = sorted(self.volumes - {row.uuid for row in volumes})
        return [f"Pool {name} is not in the model." for name in lost] + [
            f"Volume {uuid} is not in the model." for uuid in missing
        ]


def _plain(identifier: str) -> str:
    return identifier.replace("-", "").lower()


def _cut(
    snapshot: ElementSnapshot, rows: Mapping[str, Sequence[Any]], warnings: tuple[str, ...]
) -> ScopedElements:
    kept = {kind: tuple(found) for kind, found in rows.items()}
    return ScopedElements(snapshot=dataclasses.replace(snapshot, rows=kept), warnings=warnings)
