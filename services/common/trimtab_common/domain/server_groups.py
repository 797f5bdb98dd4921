"""The server groups of a compute model, found by their uuid and by their members."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from trimtab_common.domain.compute_terms import ServerGroup


class ServerGroups:
    """Groups by uuid, and which of them each server is in. Not thread-safe."""

    def __init__(self) -> None:
        self._groups: dict[str, ServerGroup] = {}
        self._groups_of: dict[str, set[str]] = {}

    def __contains__(self, uuid: str) -> bool:
        return uuid in self._groups

    def all(self) -> Iterable[ServerGroup]:
        """All groups, in no order."""
        return self._groups.values()

    def find(self, uuid: str) -> ServerGroup | None:
        """The group with this uuid, or None."""
        return self._groups.get(uuid)

    def of(self, server: str) -> list[ServerGroup]:
        """The groups that a server is a member of; Nova allows one."""
        return [self._groups[uuid] for uuid in sorted(self._groups_of.get(server, ()))]

    def upsert(self, row: ServerGroup) -> bool:
        """Adds or replaces a group; whether that changed anything."""
        known = self._groups.get(row.uuid)
        if known == row:
            return False
        self._groups[row.uuid] = row
        before = known.members if known is not None else frozenset[str]()
        self._leave(row.uuid, before - row.members)
        for server in row.members - before:
            self._groups_of.setdefault(server, set()).add(row.uuid)
        return True

    def remove(self, uuid: str) -> bool:
        """Removes a group; its members stay."""
        group = self._groups.pop(uuid, None)
        if group is None:
            return False
        self._leave(uuid, group.members)
        return True

    def drop_member(self, server: str) -> list[str]:
        """A deleted server leaves its groups, whose uuids are given: Nova has no other way out."""
        left = self.of(server)
        for group in left:
            self.upsert(replace(group, members=group.members - {server}))
        return [group.uuid for group in left]

    def _leave(self, uuid: str, servers: Iterable[str]) -> None:
        for server in servers:
            self._groups_of[server].discard(uuid)
            if not self._groups_of[server]:
                del self._groups_of[server]
