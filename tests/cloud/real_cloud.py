"""What the tests of the real cloud do to it and see of it, through openstacksdk's session.

Servers that tests make are named `tt-...` and are deleted at the end; what others made is moved and
watched, but not stopped or deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

OURS = "tt-"
POLL_S = 0.2
VERSION = "2.96"
_Answer = TypeVar("_Answer")


def eventually(
    question: Callable[[], _Answer], what: str, limit_s: float = 60.0, every_s: float = POLL_S
) -> _Answer:
    """Asks until the answer is true; AssertionError names `what` past the limit."""
    end = time.monotonic() + limit_s
    while not (answer := question()):
        assert time.monotonic() < end, f"not within {limit_s:.0f} s: {what}"
        time.sleep(every_s)
    return answer


@dataclass(frozen=True, slots=True)
class Server:
    """A server as Nova tells of it."""

    uuid: str
    name: str
    host: str
    status: str
    task_state: str | None

    @property
    def idle(self) -> bool:
        """Nothing is being done to it."""
        return self.task_state is None and self.status != "BUILD"


class RealCloud:
    """An administrator's view and hands, by few requests."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.compute = connection.compute
        self.placement = connection.placement
        self._flavors: dict[str, str] = {}
        self._image = ""
        self._services: dict[str, str] = {}

    def get(self, path: str) -> Any:
        """The JSON of a compute GET."""
        answer = self.compute.get(path, microversion=VERSION)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def act(self, server: str, **action: Any) -> None:
        """A server action; AssertionError with Nova's words when it is refused."""
        answer = self.compute.post(f"/servers/{server}/action", json=action, microversion=VERSION)
        assert answer.status_code in {200, 202, 204}, f"{action}: {answer.text}"

    def servers(self) -> dict[str, Server]:
        """All servers by uuid. Fewer than 1,000: one page."""
        rows = self.get("/servers/detail?all_tenants=1")["servers"]
        return {row["id"]: _server(row) for row in rows}

    def named(self, prefix: str) -> dict[str, Server]:
        """The servers whose names begin so, by uuid."""
        rows = self.get(f"/servers/detail?all_tenants=1&name={prefix}")["servers"]
        return {row["id"]: _server(row) for row in rows if row["name"].startswith(prefix)}

    def server(self, uuid: str) -> Server:
        """One server."""
        return _server(self.get(f"/servers/{uuid}")["server"])

    def services(self) -> dict[str, dict[str, Any]]:
        """The compute services by host."""
        rows = self.get("/os-services?binary=nova-compute")["services"]
        return {row["host"]: row for row in rows}

    def servers_on(self, host: str) -> list[Server]:
        """What runs on a host."""
        return [server for server in self.servers().values() if server.host == host]

    def change_service(self, host: str, **change: Any) -> None:
        """PUT on a compute service: status, disabled_reason, forced_down."""
        if host not in self._services:  # their ids stay
            self._services = {name: row["id"] for name, row in self.services().items()}
        uuid = self._services[host]
        answer = self.compute.put(f"/os-services/{uuid}", json=change, microversion=VERSION)
        assert answer.status_code == 200, answer.text

    def await_computes(self, since: datetime, limit_s: float = 120.0) -> None:
        """Waits until every nova-compute is up and was heard of after `since` (UTC)."""

        def reported() -> bool:
            rows = self.services().values()
            return all(
                row["state"] == "up" and datetime.fromisoformat(row["updated_at"]) > since
                for row in rows
            )

        eventually(reported, "every nova-compute reports", limit_s)

    def enable_all(self) -> None:
        """Every compute service enabled, none forced down."""
        for row in self.services().values():
            for is_so, change in (
                (row["status"] == "enabled", {"status": "enabled"}),
                (not row["forced_down"], {"forced_down": False}),
            ):
                if not is_so:
                    self.compute.put(f"/os-services/{row['id']}", json=change, microversion=VERSION)

    def create(
        self,
        name: str,
        *,
        host: str | None = None,
        flavor: str = "m1.small",
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Asks for a server of ours; its uuid."""
        answer = self.ask_to_create(name, host=host, flavor=flavor, metadata=metadata)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["server"]["id"])

    def ask_to_create(
        self,
        name: str,
        *,
        host: str | None = None,
        flavor: str = "m1.small",
        metadata: Mapping[str, str] | None = None,
        group: str = "",
    ) -> Any:
        """Nova's answer to the wish for a server of ours. group: the server group it belongs to."""
        assert name.startswith(OURS), name
        body: dict[str, Any] = {
            "name": name,
            "flavorRef": self.flavor(flavor),
            "imageRef": self.image(),
            "networks": "none",
            "metadata": dict(metadata or {}),
        } | ({"host": host} if host else {})
        wish: dict[str, Any] = {"server": body}
        if group:
            wish["os:scheduler_hints"] = {"group": group}
        return self.compute.post("/servers", json=wish, microversion=VERSION)

    def image(self) -> str:
        """The id of the one image that the cloud is seeded with."""
        if not self._image:
            body = self.connection.image.get("/images?name=cirros").json()
            self._image = str(body["images"][0]["id"])
        return self._image

    def flavor(self, name: str) -> str:
        """The id of a flavor."""
        if name not in self._flavors:
            self._flavors = {r["name"]: str(r["id"]) for r in self.get("/flavors")["flavors"]}
        return self._flavors[name]

    def active(self, uuid: str, limit_s: float = 60.0) -> Server:
        """The server once it is ACTIVE and idle."""

        def ask() -> Server | None:
            seen = self.server(uuid)
            assert seen.status != "ERROR", f"{seen.name} is in ERROR"
            return seen if seen.status == "ACTIVE" and seen.idle else None

        return eventually(ask, f"server {uuid} is ACTIVE", limit_s)

    def pool(self, count: int) -> list[str]:
        """So many ACTIVE servers of ours without metadata, made where they are missing."""
        rows = self.get(f"/servers/detail?all_tenants=1&name={OURS}pool")["servers"]
        idle = [row for row in rows if _server(row).idle]
        bad = [row["id"] for row in idle if row["status"] != "ACTIVE"]
        if bad:
            self.delete(*bad)
        chosen = [row for row in idle if row["status"] == "ACTIVE"][:count]
        for row in chosen:
            path = f"/servers/{row['id']}/metadata"
            if row["metadata"]:
                self.compute.put(path, json={"metadata": {}}, microversion=VERSION)
            if row["locked"]:
                self.act(row["id"], unlock=None)
        good = [str(row["id"]) for row in chosen]
        made = [self.create(f"{OURS}pool", flavor="m1.tiny") for _ in range(count - len(good))]
        for uuid in made:
            self.active(uuid)
        return good + made

    def ask_to_delete(self, *uuids: str) -> None:
        """Asks for it and does not wait; who is deleted already may be asked for again."""
        for uuid in uuids:
            answer = self.compute.delete(f"/servers/{uuid}", microversion=VERSION, raise_exc=False)
            assert answer.status_code in {204, 404}, answer.text

    def delete(self, *uuids: str) -> None:
        """Deletes servers of ours and waits until they are gone."""
        self.ask_to_delete(*uuids)
        eventually(
            lambda: not self.servers().keys() & set(uuids), f"{len(uuids)} servers are deleted", 120
        )

    def live_migrate(self, server: str, host: str | None = None) -> None:
        """Asks for a live migration."""
        self.act(server, **{"os-migrateLive": {"host": host, "block_migration": "auto"}})

    def migrations(self, server: str) -> list[dict[str, Any]]:
        """Nova's records of a server's moves, newest first."""
        return list(self.get(f"/os-migrations?instance_uuid={server}")["migrations"])

    def settle(self, limit_s: float = 90.0) -> dict[str, Server]:
        """The servers once nothing is done to any of them."""

        def ask() -> dict[str, Server] | None:
            seen = self.servers()
            return seen if all(server.idle for server in seen.values()) else None

        return eventually(ask, "no server has a task", limit_s)

    def uneven(self, per_host: int = 1) -> dict[str, Server]:
        """All hosts enabled and none without servers, so that there is something to do."""
        self.enable_all()
        before = self.settle()
        count = dict.fromkeys(self.services(), 0)
        for server in before.values():
            count[server.host] = count.get(server.host, 0) + 1
        made = [
            self.create(f"{OURS}{host}-{number}", host=host)
            for host, found in count.items()
            for number in range(per_host - found)
        ]
        for uuid in made:
            self.active(uuid)
        return self.servers()

    def held(self) -> dict[str, set[str]]:
        """Placement's books: the hosts on which each consumer holds something."""
        found: dict[str, set[str]] = {}
        for provider in self.placement.get("/resource_providers").json()["resource_providers"]:
            body = self.placement.get(f"/resource_providers/{provider['uuid']}/allocations").json()
            for consumer in body["allocations"]:
                found.setdefault(consumer, set()).add(provider["name"])
        return found

    def disagreements(self) -> dict[str, tuple[set[str], set[str]]]:
        """Where Nova (first) and Placement (second) do not say the same about a server or move."""
        nova = {uuid: {server.host} for uuid, server in self.servers().items() if server.host}
        placement = self.held()
        return {
            uuid: (nova.get(uuid, set()), placement.get(uuid, set()))
            for uuid in nova.keys() | placement.keys()
            if nova.get(uuid) != placement.get(uuid)
        }

    def await_agreement(self, limit_s: float = 60.0) -> None:
        """Waits until Nova and Placement say the same; AssertionError names what differs."""
        found: dict[str, Any] = {}

        def agree() -> bool:
            found.clear()
            found.update(self.disagreements())
            return not found

        try:
            eventually(agree, "Nova and Placement agree", limit_s)
        except AssertionError as error:
            raise AssertionError(f"Nova and Placement do not agree: {found}") from error

    def forget_orphans(self) -> None:
        """Deletes what no server and no move in progress holds: `nova-manage placement audit`.

        A compute that is killed leaves the allocation of its migration behind, which nobody else
        ends: a known trait of Nova.
        """
        known = self.settle().keys()
        for consumer in self.held().keys() - known:
            self.placement.delete(f"/allocations/{consumer}")

    def tidy(self) -> None:
        """Away with what tests made, and every host enabled."""
        self.enable_all()
        ours = [uuid for uuid, s in self.servers().items() if s.name.startswith(OURS)]
        if ours:
            self.delete(*ours)


def _server(row: dict[str, Any]) -> Server:
    return Server(
        row["id"],
        row["name"],
        row.get("OS-EXT-SRV-ATTR:host") or "",
        row["status"],
        row.get("OS-EXT-STS:task_state"),
    )
