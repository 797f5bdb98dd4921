"""Audit scope on the compute model: which hosts an audit sees and which servers it must not touch.

Between snapshot and strategy. Pure: gives a new snapshot, marks excluded servers in it, and tells
which rules named something that is not there (C-086..C-105).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.server_texts import ServerAttribute, ServerNames
from trimtab_common.domain.snapshot import NO_HOST, ComputeSnapshot, MetricsTable

WILDCARD = "*"
MODELS = ("compute", "storage", "baremetal")


class WildcardCharacterIsUsed(InvalidArgument):
    """`*` selects everything and cannot stand beside other ids or names (C-094)."""

    reason = "WILDCARD_CHARACTER_IS_USED"


def _closed(properties: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
        **more,
    }


def _list_of(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(item)}


_NAME = {"type": "string"}
_AGGREGATES = _list_of(
    {
        "anyOf": [
            _closed(
                {"id": {"oneOf": [{"type": "integer"}, {"enum": [WILDCARD]}]}}, required=["id"]
            ),
            _closed({"name": _NAME}, required=["name"]),
        ]
    }
)
_UUIDS = _list_of(_closed({"uuid": {"type": "string"}}, required=["uuid"]))
_NAMES = _list_of(_closed({"name": _NAME}, required=["name"]))

COMPUTE_SCOPE_SCHEMA: Mapping[str, Any] = _list_of(
    _closed(
        {
            "host_aggregates": _AGGREGATES,
            "availability_zones": _NAMES,
            "exclude": _list_of(
                _closed(
                    {
                        "instances": _UUIDS,
                        "compute_nodes": _NAMES,
                        "host_aggregates": _AGGREGATES,
                        "instance_metadata": _list_of({"type": "object"}),
                        "projects": _UUIDS,
                    }
                )
            ),
        }
    )
)
"""JSON schema (draft 4) of the value of `compute` in an audit scope (C-086)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scoped:
    """The scoped snapshot. `hosts`, `servers`: indexes into the snapshot it was made from."""

    snapshot: ComputeSnapshot
    hosts: NDArray[np.intp]
    servers: NDArray[np.intp]
    warnings: tuple[str, ...] = ()

    def align(self, metrics: MetricsTable) -> MetricsTable:
        """The metrics of the unscoped snapshot, cut to this one."""
        return MetricsTable(
            host={name: column[self.hosts] for name, column in metrics.host.items()},
            server={name: column[self.servers] for name, column in metrics.server.items()},
            source=metrics.source,
        )


def normalise(scope: Any) -> list[dict[str, Any]]:
    """The canonical list of {model: rules}; accepts the two legacy forms (C-089).

    InvalidArgument when it is neither.
    """
    if isinstance(scope, Mapping):
        scope = [{model: rules} for model, rules in scope.items()]
    if not isinstance(scope, Sequence) or isinstance(scope, str):
        raise InvalidArgument("The scope must be a list.")
    if not all(isinstance(item, Mapping) for item in scope):
        raise InvalidArgument("Every item of the scope must be an object.")
    if scope and scope[0] and next(iter(scope[0])) not in MODELS:
        return [{"compute": [dict(item) for item in scope]}]
    return [dict(item) for item in scope]


def compute_rules(scope: Any) -> list[Mapping[str, Any]]:
    """The rules of the first item with a non-empty `compute`; [] when there is none (C-096)."""
    for item in normalise(scope):
        rules = item.get("compute")
        if rules:
            return list(rules)
    return []


def check_compute_rules(rules: Iterable[Mapping[str, Any]]) -> None:
    """Raise for what the schema cannot say: wildcards and aggregates on both sides (C-091, C-094)."""
    included = excluded = False
    for rule in rules:
        included |= "host_aggregates" in rule
        _check_wildcards(rule)
        for entry in rule.get("exclude", ()):
            excluded |= "host_aggregates" in entry
            _check_wildcards(entry)
    if included and excluded:
        raise InvalidArgument("host_aggregates can't be included and excluded together")


def _check_wildcards(rule: Mapping[str, Any]) -> None:
    for what, key in (
        ("host_aggregates", "id"),
        ("host_aggregates", "name"),
        ("availability_zones", "name"),
    ):
        values = [entry[key] for entry in rule.get(what, ()) if key in entry]
        if WILDCARD in values and len(values) > 1:
            raise WildcardCharacterIsUsed(
                f"You shouldn't use any other IDs of {what} if you use wildcard character."
            )


def scoped(
    snapshot: ComputeSnapshot, scope: Any, *, check_optimize_metadata: bool = False
) -> Scoped:
    """The snapshot as this scope lets an audit see it (C-096). Linear in hosts and servers.

    Raises InvalidArgument for contradictory rules. `check_optimize_metadata` gates the exclusion
    by metadata (C-104).
    """
    rules = compute_rules(scope)
    if not rules:
        return Scoped(
            snapshot=snapshot,
            hosts=np.arange(snapshot.n_hosts),
            servers=np.arange(snapshot.n_servers),
        )
    check_compute_rules(rules)
    reader = _Rules(snapshot)
    for rule in rules:
        reader.read(rule)
    keep = reader.kept_hosts()
    excluded = reader.excluded_servers(by_metadata=check_optimize_metadata)
    return _cut(snapshot, keep, excluded, tuple(reader.warnings))


class _Rules:
    """Walks the rules in order and collects what they name."""

    def __init__(self, snapshot: ComputeSnapshot) -> None:
        self.snapshot = snapshot
        self.host_index = {name: i for i, name in enumerate(snapshot.host_name)}
        self.includes = False
        self.included: set[str] = set()
        self.removed: set[str] = set()
        self.uuids: list[str] = []
        self.metadata: dict[str, Any] = {}
        self.projects: list[str] = []
        self.warnings: list[str] = []

    def read(self, rule: Mapping[str, Any]) -> None:
        """Take over one rule; several keys in it all count (C-097)."""
        if "host_aggregates" in rule:
            self.includes = True
            self.included |= self._aggregate_hosts(rule["host_aggregates"])
        if "availability_zones" in rule:
            self.includes = True
            self.included |= self._zone_hosts(rule["availability_zones"])
        for entry in rule.get("exclude", ()):
            self._exclude(entry)

    def _exclude(self, entry: Mapping[str, Any]) -> None:
        self.uuids += [item["uuid"] for item in entry.get("instances", ())]
        for item in entry.get("compute_nodes", ()):
            if item["name"] in self.host_index:
                self.removed.add(item["name"])
            else:
                self.warnings.append(f"Compute node {item['name']} is not in the model.")
        self.removed |= self._aggregate_hosts(entry.get("host_aggregates", ()))
        for item in entry.get("instance_metadata", ()):
            self.metadata |= item
        self.projects += [item["uuid"] for item in entry.get("projects", ())]

    def _aggregate_hosts(self, entries: Iterable[Mapping[str, Any]]) -> set[str]:
        hosts: set[str] = set()
        for entry in entries:
            key = "id" if "id" in entry else "name"
            wanted = entry[key]
            found = [
                aggregate
                for aggregate in self.snapshot.aggregates
                if wanted == WILDCARD or getattr(aggregate, key) == wanted
            ]
            if not found:
                self.warnings.append(f"Host aggregate {wanted} does not exist.")
            for aggregate in found:
                hosts |= aggregate.hosts
        return hosts

    def _zone_hosts(self, entries: Iterable[Mapping[str, Any]]) -> set[str]:
        hosts: set[str] = set()
        snapshot = self.snapshot
        for entry in entries:
            wanted = entry["name"]
            if wanted == WILDCARD:
                return set(snapshot.host_name)
            if wanted not in snapshot.zones:
                self.warnings.append(f"Availability zone {wanted} does not exist.")
                continue
            inside = np.flatnonzero(snapshot.host_zone == snapshot.zones.index(wanted))
            hosts |= {snapshot.host_name[host] for host in inside}
        return hosts

    def kept_hosts(self) -> NDArray[np.bool_]:
        """[H] what stays: all, or what was included, less what was excluded."""
        names = self.snapshot.host_name
        keep = np.array(
            [
                (not self.includes or name in self.included) and name not in self.removed
                for name in names
            ],
            dtype=bool,
        )
        if self.includes and not keep.any():
            self.warnings.append("The scope contains no compute node of the model.")
        return keep

    def excluded_servers(self, *, by_metadata: bool) -> NDArray[np.bool_]:
        """[V] what must not be touched: by uuid, project and, where gated on, metadata."""
        snapshot = self.snapshot
        excluded = snapshot.server_excluded.copy()
        if self.metadata and not by_metadata:
            self.warnings.append(
                "instance_metadata is ignored while check_optimize_metadata is off."
            )
        elif self.metadata:
            wanted = {key: str(value).lower() for key, value in self.metadata.items()}
            for server, metadata in snapshot.server_metadata.items():
                if all(str(metadata.get(k, "\0")).lower() == v for k, v in wanted.items()):
                    excluded[server] = True
        if self.projects:
            barred = {_plain(project) for project in self.projects}
            for project in barred - {_plain(known) for known in snapshot.projects}:
                self.warnings.append(f"Project {project} has no server in the model.")
            hit = np.array([_plain(project) in barred for project in snapshot.projects], dtype=bool)
            known = snapshot.server_project >= 0
            excluded[known] |= hit[snapshot.server_project[known]]
        for text in self.uuids:
            found = snapshot.find_server(text)
            if found is None:
                self.warnings.append(f"Server {text} is not in the model.")
            else:
                excluded[found] = True
        return excluded


def _plain(identifier: str) -> str:
    return identifier.replace("-", "").lower()


def _cut(
    snapshot: ComputeSnapshot,
    keep: NDArray[np.bool_],
    excluded: NDArray[np.bool_],
    warnings: tuple[str, ...],
) -> Scoped:
    """The hosts of `keep` and their servers; servers on no host stay. Nothing to cut: only marks."""
    hosts = np.flatnonzero(keep)
    if len(hosts) == snapshot.n_hosts:
        excluded.setflags(write=False)
        return Scoped(
            snapshot=dataclasses.replace(snapshot, server_excluded=excluded),
            hosts=hosts,
            servers=np.arange(snapshot.n_servers),
            warnings=warnings,
        )
    on_kept = np.append(keep, True)[snapshot.server_host]
    servers = np.flatnonzero(on_kept)
    new_host = np.full(snapshot.n_hosts + 1, NO_HOST, dtype=np.int32)
    new_host[hosts] = np.arange(len(hosts), dtype=np.int32)
    place = np.full(snapshot.n_servers, -1, dtype=np.int64)
    place[servers] = np.arange(len(servers))
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(snapshot):
        chosen = {"host": hosts, "server": servers}.get(field.name.partition("_")[0])
        if chosen is not None:
            changes[field.name] = _select(getattr(snapshot, field.name), chosen, place)
    changes["server_host"] = new_host[snapshot.server_host[servers]]
    changes["server_excluded"] = excluded[servers]
    for value in changes.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return Scoped(
        snapshot=dataclasses.replace(snapshot, **changes),
        hosts=hosts,
        servers=servers,
        warnings=warnings,
    )


def _select(column: Any, chosen: NDArray[np.intp], place: NDArray[np.int64]) -> Any:
    """These rows of an array, a tuple or a sparse mapping by server; a column not kept stays so.

    place: [V] where each server will be, -1 gone.
    """
    if isinstance(column, np.ndarray):
        return column[chosen] if len(column) else column
    if isinstance(column, ServerNames | ServerAttribute):
        return column.taken(chosen)
    if isinstance(column, Mapping):
        return {new: value for old, value in column.items() if (new := int(place[old])) >= 0}
    return tuple([column[i] for i in chosen.tolist()])
