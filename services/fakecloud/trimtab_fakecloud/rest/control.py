"""``/control``: what only a fake has. No token is asked for.

state, ledger, faults; servers made and changed behind Nova's back; hosts that die; tokens that end.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.engine import Compute
from trimtab_fakecloud.compute.lifecycle import NewServer
from trimtab_fakecloud.compute.records import Caller
from trimtab_fakecloud.errors import BadRequest
from trimtab_fakecloud.hosts import Host
from trimtab_fakecloud.migrations import Migration
from trimtab_fakecloud.rest.answers import answer, json_object
from trimtab_fakecloud.rest.gate import Gate
from trimtab_fakecloud.servers import Server
from trimtab_fakecloud.volumes import Volume


def control_app(cloud: Cloud, compute: Compute) -> Gate:
    """The fake's own service."""
    return Gate(
        Router(_Control(cloud, compute).routes()),
        cloud,
        "control",
        lambda status, message, _id: {"error": {"code": status, "message": message}},
        is_open=lambda _path: True,
    )


class _Control:
    def __init__(self, cloud: Cloud, compute: Compute) -> None:
        self._cloud = cloud
        self._compute = compute

    def routes(self) -> list[Route]:
        return [
            Route("/state", self.state),
            Route("/ledger", self.ledger),
            Route("/faults", self.faults),
            Route("/faults", self.set_faults, methods=["PUT"]),
            Route("/servers", self.create, methods=["POST"]),
            Route("/servers/{server_id}", self.update, methods=["PUT"]),
            Route("/servers/{server_id}", self.delete, methods=["DELETE"]),
            Route("/hosts/{name}", self.update_host, methods=["PUT"]),
            Route("/tokens/revoke", self.revoke, methods=["POST"]),
        ]

    async def state(self, _request: Request) -> Response:
        """Hosts with what each uses, and servers with where each is."""
        cloud = self._cloud
        return answer(
            {
                "now": cloud.now(),
                "hosts": [self._host(host) for host in cloud.hosts.values()],
                "servers": [_server(s) for s in cloud.servers.values() if not s.is_deleted],
                "volumes": [_volume(v) for v in cloud.storage.volumes.values()],
                "migrations_under_way": sum(m.is_live_in_progress for m in cloud.migrations),
            }
        )

    async def ledger(self, _request: Request) -> Response:
        """Every write, and the life of every migration."""
        return answer(
            {
                "entries": [entry.as_json() for entry in self._cloud.ledger.entries],
                "migrations": [_life(m) for m in self._cloud.migrations],
            }
        )

    async def faults(self, _request: Request) -> Response:
        """The faults on order."""
        return answer(self._cloud.faults.as_json())

    async def set_faults(self, request: Request) -> Response:
        """Order faults; those not named stay."""
        self._cloud.faults.update(await json_object(request))
        return answer(self._cloud.faults.as_json())

    async def create(self, request: Request) -> Response:
        """A server out of the blue: ``flavor`` (id or name), ``name``, ``host``, load."""
        body = await json_object(request)
        wanted = body.get("flavor", next(iter(self._cloud.flavors), ""))
        flavor = next((f for f in self._cloud.flavors.values() if wanted in (f.id, f.name)), None)
        if flavor is None:
            raise BadRequest(f"No flavor {wanted!r}; there are {', '.join(self._cloud.flavors)}")
        host = body.get("host")
        if host is not None:
            self._cloud.host(host)
        token = self._cloud.identity.login("member", "secret")
        server = self._compute.lifecycle.create(
            NewServer(
                name=body.get("name", "behind-its-back"),
                flavor=flavor,
                host=host,
                metadata=body.get("metadata", {}),
                cpu_pct=_number(body, "cpu_pct"),
                memory_used_mib=_number(body, "memory_used_mib"),
            ),
            Caller(token, "control"),
        )
        return answer(_server(server), 201)

    async def update(self, request: Request) -> Response:
        """Another load: ``cpu_pct``, ``memory_used_mib``."""
        server = self._cloud.server(request.path_params["server_id"])
        body = await json_object(request)
        cpu, memory = _number(body, "cpu_pct"), _number(body, "memory_used_mib")
        server.cpu_pct = server.cpu_pct if cpu is None else cpu
        server.memory_used_mib = server.memory_used_mib if memory is None else memory
        self._cloud.load_changed(server)
        return answer(_server(server))

    async def delete(self, request: Request) -> Response:
        """The server is gone at once."""
        server = self._cloud.server(request.path_params["server_id"])
        self._cloud.remove(server)
        return answer(_server(server))

    async def update_host(self, request: Request) -> Response:
        """A host dies or comes back: ``up`` true or false."""
        host = self._cloud.host(request.path_params["name"])
        body = await json_object(request)
        if not isinstance(body.get("up"), bool) or len(body) != 1:
            raise BadRequest('Send {"up": true} or {"up": false}')
        host.is_up = body["up"]
        self._cloud.host_updated(host)
        return answer(self._host(host))

    async def revoke(self, request: Request) -> Response:
        """All tokens of a user end: ``user``."""
        user = (await json_object(request)).get("user", "")
        return answer({"revoked": self._cloud.identity.revoke_user(user)})

    def _host(self, host: Host) -> dict[str, Any]:
        servers = self._cloud.servers_on(host.name)
        busy = sum(s.flavor.vcpus * s.cpu_pct / 100 for s in servers if s.is_running)
        used = self._cloud.allocations.used(host.uuid)
        return {
            "hostname": host.name,
            "uuid": host.uuid,
            "zone": self._cloud.zone_of(host.name),
            "state": host.state,
            "status": host.status,
            "disabled_reason": host.disabled_reason,
            "power_state": "on" if host.is_powered_on else "off",
            "cpu_pct": round(min(100.0, 100 * busy / host.vcpus + 1), 2),
            "inventories": {
                name: {
                    "total": i.total,
                    "capacity": i.capacity,
                    "used": used.get(name, 0),
                }
                for name, i in host.inventories.items()
            },
            "servers": [server.id for server in servers],
        }


def _volume(volume: Volume) -> dict[str, Any]:
    return {
        "uuid": volume.id,
        "name": volume.name,
        "size_gb": volume.size_gb,
        "pool": volume.pool,
        "type": volume.type.name if volume.type else None,
        "status": volume.status,
    }


def _server(server: Server) -> dict[str, Any]:
    return {
        "uuid": server.id,
        "name": server.name,
        "host": server.host,
        "status": server.status,
        "task_state": server.task_state,
        "vcpus": server.flavor.vcpus,
        "memory_mib": server.flavor.memory_mib,
        "disk_gib": server.flavor.disk_gib,
        "cpu_pct": server.cpu_pct,
        "memory_used_mib": server.memory_used_mib,
    }


def _life(migration: Migration) -> dict[str, Any]:
    return {
        "id": migration.number,
        "uuid": migration.uuid,
        "type": migration.type,
        "server_uuid": migration.server_id,
        "source": migration.source,
        "destination": migration.destination or None,
        "status": migration.status,
        "reason": migration.reason,
        "request_id": migration.request_id,
        "history": [{"at": at, "status": status} for at, status in migration.history],
    }


def _number(body: dict[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:  # noqa: PLR2004, beyond any memory
        raise BadRequest(f"{name} must be a number of at least 0, not {value!r}")
    return float(value)
