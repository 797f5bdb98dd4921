"""The cloud itself: hosts, servers, moves, allocations, in one place and always in agreement.

Pure state: nothing here waits or speaks HTTP. ``compute`` changes it over time, ``rest`` shows it.
"""

import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from trimtab_fakecloud.allocations import Allocations
from trimtab_fakecloud.clock import Clock
from trimtab_fakecloud.errors import NotFound
from trimtab_fakecloud.faults import Faults, faults_of
from trimtab_fakecloud.groups import ServerGroups
from trimtab_fakecloud.hosts import Aggregate, Host
from trimtab_fakecloud.ledger import Ledger
from trimtab_fakecloud.migrations import Migrations
from trimtab_fakecloud.servers import Flavor, Server, VmState
from trimtab_fakecloud.settings import CloudSpec
from trimtab_fakecloud.tokens import Identity
from trimtab_fakecloud.volumes import Storage

DEFAULT_ZONE = "nova"


class LoadWatcher(Protocol):
    """Is told whenever the load of a host or server may have changed."""

    def host_changed(self, host: Host) -> None:
        """A host came, went up or down."""
        ...

    def server_changed(self, server: Server) -> None:
        """A server came, moved, started or stopped, or has another load."""
        ...


class Cloud:
    """Everything there is."""

    def __init__(self, spec: CloudSpec, clock: Clock) -> None:
        self.spec = spec
        self.clock = clock
        self.rng = random.Random(spec.seed)  # noqa: S311, reproducible, not secret
        self.began_at = clock.time()
        self.hosts: dict[str, Host] = {}
        self.servers: dict[str, Server] = {}
        self.flavors: dict[str, Flavor] = {}
        self.aggregates: dict[int, Aggregate] = {}
        self.groups = ServerGroups(self.servers)
        self.storage = Storage(clock, spec.seed)
        self.node_watchers: list[Callable[[str, Host], None]] = []
        self.migrations = Migrations()
        self.allocations = Allocations()
        self.ledger = Ledger()
        self.faults: Faults = faults_of(spec)
        self.identity = Identity(clock, spec.token_lifetime_s, spec.seed)
        self.watchers: list[LoadWatcher] = []
        self.aggregate_watchers: list[Callable[[str, Aggregate], None]] = []
        self._hosts_by_uuid: dict[str, Host] = {}
        self._on_host: defaultdict[str, dict[str, Server]] = defaultdict(dict)
        self._newest_first: list[Server] | None = None

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.clock.time()

    def new_uuid(self) -> str:
        """A reproducible version 4 uuid."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    # hosts

    def add_host(self, host: Host) -> Host:
        """A new compute host."""
        self.hosts[host.name] = host
        self._hosts_by_uuid[host.uuid] = host
        for watcher in self.watchers:
            watcher.host_changed(host)
        return host

    def host(self, name: str) -> Host:
        """The host of that name.

        Raises:
            NotFound: there is none.
        """
        try:
            return self.hosts[name]
        except KeyError:
            raise NotFound(f"Compute host {name} could not be found.") from None

    def host_by_uuid(self, host_uuid: str) -> Host | None:
        """The host with that hypervisor (and provider) uuid."""
        return self._hosts_by_uuid.get(host_uuid)

    def host_updated(self, host: Host) -> None:
        """The host's service changed; to be called after each change."""
        host.updated_at = self.now()
        for watcher in self.watchers:
            watcher.host_changed(host)

    def node_changed(self, what: str, host: Host) -> None:
        """The machine under a host changed in Ironic: ``power_set.end``..."""
        for watcher in self.node_watchers:
            watcher(what, host)
        self.host_updated(host)

    def zone_of(self, host_name: str | None) -> str:
        """The availability zone of a host."""
        for aggregate in self.aggregates.values():
            if aggregate.zone and host_name in aggregate.hosts:
                return aggregate.zone
        return DEFAULT_ZONE

    def add_aggregate(
        self, name: str, hosts: Iterable[str], metadata: Mapping[str, str]
    ) -> Aggregate:
        """A new aggregate."""
        number = max(self.aggregates, default=0) + 1
        self.aggregates[number] = Aggregate(
            number=number,
            uuid=self.new_uuid(),
            name=name,
            hosts=list(hosts),
            metadata=dict(metadata),
            created_at=self.now(),
        )
        self.aggregate_changed("create", self.aggregates[number])
        return self.aggregates[number]

    def aggregate_changed(self, what: str, aggregate: Aggregate) -> None:
        """To be called after each change: ``add_host``, ``remove_host``, ``delete``..."""
        for watcher in self.aggregate_watchers:
            watcher(what, aggregate)

    # servers

    def add_server(self, server: Server) -> Server:
        """A new server, which claims its place."""
        self.servers[server.id] = server
        self._newest_first = None
        if server.host is not None:
            self._on_host[server.host][server.id] = server
            self.allocations.claim(server.id, self.hosts[server.host], server.flavor.resources)
            server.zone = self.zone_of(server.host)
        self._tell(server)
        return server

    def server(self, server_id: str) -> Server:
        """The living server of that id.

        Raises:
            NotFound: there is none.
        """
        server = self.servers.get(server_id)
        if server is None or server.is_deleted:
            raise NotFound(f"Instance {server_id} could not be found.")
        return server

    def servers_on(self, host_name: str) -> list[Server]:
        """The servers of a host."""
        return list(self._on_host.get(host_name, {}).values())

    def servers_newest_first(self) -> list[Server]:
        """All servers, deleted ones too, in the order in which Nova lists them."""
        if self._newest_first is None:
            self._newest_first = sorted(
                self.servers.values(), key=lambda s: (int(s.created_at), s.id), reverse=True
            )
        return self._newest_first

    def place(self, server: Server, host_name: str) -> None:
        """The server runs there from now on. Allocations are the mover's business."""
        if server.host is not None:
            self._on_host[server.host].pop(server.id, None)
        server.host = host_name
        self._on_host[host_name][server.id] = server
        server.zone = self.zone_of(host_name)
        self.touch(server)

    def touch(self, server: Server) -> None:
        """The server changed; to be called after each change."""
        server.updated_at = self.now()
        self._tell(server)

    def load_changed(self, server: Server) -> None:
        """The server has another load, of which Nova knows nothing."""
        self._tell(server)

    def remove(self, server: Server) -> None:
        """The server is deleted; Nova goes on telling of it with ``changes-since``."""
        self.allocations.release(server.id)
        if server.host is not None:
            self._on_host[server.host].pop(server.id, None)
        server.vm_state, server.task_state = VmState.DELETED, None
        server.deleted_at = self.now()
        self.touch(server)

    def _tell(self, server: Server) -> None:
        for watcher in self.watchers:
            watcher.server_changed(server)
