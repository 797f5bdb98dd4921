"""Server groups: servers that the scheduler keeps together or apart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trimtab_fakecloud.errors import BadRequest, NotFound
from trimtab_fakecloud.hosts import Host
from trimtab_fakecloud.servers import Server

POLICIES = ("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity")
GroupWatcher = Callable[[str, "ServerGroup"], None]
"""Is told ``create``, ``add_member`` or ``delete``, and of which group."""


@dataclass(slots=True)
class ServerGroup:
    """One server group. ``max_per_host`` only with anti-affinity."""

    id: str
    name: str
    policy: str
    project_id: str
    user_id: str
    max_per_host: int | None = None
    members: list[str] = field(default_factory=list)


class ServerGroups:
    """All server groups of a cloud."""

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers
        self._groups: dict[str, ServerGroup] = {}
        self.watchers: list[GroupWatcher] = []

    def all(self) -> list[ServerGroup]:
        """In order of their making."""
        return list(self._groups.values())

    def get(self, group_id: str) -> ServerGroup:
        """The group of that id.

        Raises:
            NotFound: there is none.
        """
        try:
            return self._groups[group_id]
        except KeyError:
            raise NotFound(f"Instance group {group_id} could not be found.") from None

    def create(self, group: ServerGroup) -> ServerGroup:
        """A new group."""
        self._groups[group.id] = group
        self._tell("create", group)
        return group

    def delete(self, group_id: str) -> None:
        """Take a group away; its members stay.

        Raises:
            NotFound: there is none.
        """
        group = self.get(group_id)
        del self._groups[group_id]
        self._tell("delete", group)

    def join(self, group_id: str, server_id: str) -> None:
        """A server that is created asks for a group.

        Raises:
            BadRequest: there is no such group.
        """
        group = self._groups.get(group_id)
        if group is None:
            raise BadRequest(f"Instance group {group_id} could not be found.")
        group.members.append(server_id)
        self._tell("add_member", group)

    def living(self, group: ServerGroup) -> list[str]:
        """The members that Nova shows: those that are not deleted."""
        servers = self._servers
        return [key for key in group.members if key in servers and not servers[key].is_deleted]

    def allow(self, server_id: str) -> Callable[[Host], bool]:
        """Whether a server may go to a host, as the scheduler's affinity filters say."""
        group = next((g for g in self._groups.values() if server_id in g.members), None)
        if group is None or group.policy not in ("affinity", "anti-affinity"):
            return lambda _host: True
        others = [
            place
            for key in self.living(group)
            if key != server_id and (place := self._servers[key].host) is not None
        ]
        if group.policy == "affinity":
            return lambda host: not others or host.name in others
        return lambda host: others.count(host.name) < (group.max_per_host or 1)

    def _tell(self, what: str, group: ServerGroup) -> None:
        for watcher in self.watchers:
            watcher(what, group)
