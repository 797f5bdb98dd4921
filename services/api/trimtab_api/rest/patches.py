"""JSON patch as every PATCH of Watcher takes it (A-044).

Operations are checked against the description, then applied to a copy; the use case gets the root
members that changed, all or nothing.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from trimtab_api.rest import bodies, versions
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.resources import Below, JsonType, Resource

Json = Any
Op = Literal["add", "replace", "remove"]
OPS = ("add", "replace", "remove")
MEMBERS = frozenset({"op", "path", "value"})
_PATH = re.compile(r"(/[\w-]+)+", re.ASCII)
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # as RFC 6901 has it: no leading zeros
_EMPTY = {JsonType.LIST: list, JsonType.OBJECT: dict}


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOp:
    """One operation. `keys`: the path without its slashes, at least one."""

    op: Op
    keys: tuple[str, ...]
    value: Json = None

    @property
    def root(self) -> str:
        """The member of the resource that it touches."""
        return self.keys[0]


def parse(body: bytes) -> tuple[PatchOp, ...]:
    """The operations of a body; InvalidArgument when one is malformed."""
    value = bodies.load(body) if body.strip() else None
    if not isinstance(value, list):
        raise InvalidArgument("The request body must be a JSON list of patch operations.")
    return tuple(_operation(item) for item in value)


def _operation(item: Json) -> PatchOp:
    if not isinstance(item, dict):
        raise InvalidArgument("Each patch operation must be a JSON object.")
    unknown = sorted(set(item) - MEMBERS)
    if unknown:
        raise InvalidArgument(f"Unknown attribute: {unknown[0]}")
    op, path = item.get("op"), item.get("path")
    if op not in OPS:
        raise bodies.invalid("op", op, f"Value should be one of: {', '.join(OPS)}")
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise bodies.invalid("path", path, "Value should match the pattern ^(/[\\w-]+)+$")
    if op != "remove" and "value" not in item:
        raise InvalidArgument("'add' and 'replace' operations need a value.")
    return PatchOp(op=cast("Op", op), keys=tuple(path[1:].split("/")), value=item.get("value"))


def changes(
    resource: Resource, document: Mapping[str, Json], operations: Sequence[PatchOp], *, minor: int
) -> dict[str, Json]:
    """The root members that the operations set, converted; a removed one has its empty value.

    `document`: the patchable members as they are now. InvalidArgument: a member that may not be
    changed or removed, a missing one, a wrong type. NotAcceptable: a member above the version.
    """
    for operation in operations:
        _allow(resource, operation, minor=minor)
    patched = copy.deepcopy(dict(document))
    for operation in operations:
        _apply(patched, operation)
    result: dict[str, Json] = {}
    for name in dict.fromkeys(operation.root for operation in operations):
        field = resource.by_name[name]
        value = patched.get(name)
        if value is None and not field.removable:
            raise bodies.invalid(name, None, "It must have a value.")
        if value is None:
            empty = _EMPTY.get(field.type)
            result[name] = empty() if empty and not field.nullable else None
        else:
            result[name] = bodies.coerced(field, value)
    return result


def not_allowed(name: str) -> InvalidArgument:
    """The error for a member that PATCH may not touch."""
    return InvalidArgument(f"'/{name}' is not an allowed attribute and can not be updated")


def _allow(resource: Resource, operation: PatchOp, *, minor: int) -> None:
    field = resource.by_name.get(operation.root)
    if field is None or not field.patchable:
        raise not_allowed(operation.root)
    if field.below is Below.REFUSED and resource.patch_since < field.since:
        versions.require(minor, field.since)
    if operation.op == "remove" and len(operation.keys) == 1 and not field.removable:
        raise InvalidArgument(f"'/{field.name}' is a mandatory attribute and can not be removed")


def _apply(document: dict[str, Json], operation: PatchOp) -> None:
    parent: Json = document
    for key in operation.keys[:-1]:
        parent = _child(parent, key, operation)
    last = operation.keys[-1]
    if isinstance(parent, dict):
        if operation.op != "add" and last not in parent:
            raise _missing(operation)
        if operation.op == "remove":
            del parent[last]
        else:
            parent[last] = operation.value
    elif isinstance(parent, list):
        _apply_to_list(parent, last, operation)
    else:
        raise _missing(operation)


def _apply_to_list(items: list[Json], key: str, operation: PatchOp) -> None:
    if operation.op == "add":
        items.insert(
            len(items) if key == "-" else _index(items, key, operation, 1), operation.value
        )
    elif operation.op == "replace":
        items[_index(items, key, operation)] = operation.value
    else:
        del items[_index(items, key, operation)]


def _child(parent: Json, key: str, operation: PatchOp) -> Json:
    if isinstance(parent, dict) and key in parent:
        return parent[key]
    if isinstance(parent, list):
        return parent[_index(parent, key, operation)]
    raise _missing(operation)


def _index(items: list[Json], key: str, operation: PatchOp, beyond: int = 0) -> int:
    if not _INDEX.fullmatch(key) or int(key) >= len(items) + beyond:
        raise _missing(operation)
    return int(key)


def _missing(operation: PatchOp) -> InvalidArgument:
    path = "/" + "/".join(operation.keys)
    return InvalidArgument(f"Couldn't apply patch: there is nothing at '{path}'.")
