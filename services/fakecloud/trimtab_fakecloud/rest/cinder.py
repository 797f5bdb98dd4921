"""Cinder v3: services, pools, types and volumes, as far as Trimtab calls it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router

from trimtab_fakecloud.clock import iso_micro
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.volume_moves import VolumeMoves
from trimtab_fakecloud.errors import BadRequest
from trimtab_fakecloud.rest.answers import answer, empty, json_object
from trimtab_fakecloud.rest.gate import Gate, caller_of
from trimtab_fakecloud.rest.keystone import base_url
from trimtab_fakecloud.rest.microversions import Microversions, text
from trimtab_fakecloud.volumes import HOSTS, Pool, Volume, VolumeType

CINDER_VERSIONS = Microversions("volume", (3, 0), (3, 71))
_FAULT_NAMES = {400: "badRequest", 403: "forbidden", 404: "itemNotFound", 503: "serviceUnavailable"}
_OPEN = frozenset({"", "/", "/v3", "/v3/"})
ZONE = "nova"


def cinder_app(cloud: Cloud, moves: VolumeMoves) -> Gate:
    """The block storage service."""
    api = _Cinder(cloud, moves)
    routes: list[BaseRoute] = [
        Route("/", _versions),
        Route("/v3", _versions),
        Mount("/v3", routes=[Route("/", _versions), *api.routes()]),
    ]
    return Gate(
        Router(routes, redirect_slashes=False),
        cloud,
        "block-storage",
        lambda status, message, _id: {
            _FAULT_NAMES.get(status, "computeFault"): {"code": status, "message": message}
        },
        is_open=_OPEN.__contains__,
        microversions=CINDER_VERSIONS,
    )


async def _versions(request: Request) -> Response:
    described = {
        "id": "v3.0",
        "status": "CURRENT",
        "version": text(CINDER_VERSIONS.maximum),
        "min_version": text(CINDER_VERSIONS.minimum),
        "updated": "2023-08-31T00:00:00Z",
        "links": [{"rel": "self", "href": f"{base_url(request)}/volume/v3/"}],
    }
    return answer({"versions": [described]})


class _Cinder:
    def __init__(self, cloud: Cloud, moves: VolumeMoves) -> None:
        self._cloud = cloud
        self._moves = moves
        self._storage = cloud.storage

    def routes(self) -> list[Route]:
        return [
            Route("/os-services", self.services),
            Route("/os-services/disable-log-reason", self.disable, methods=["PUT"]),
            Route("/os-services/enable", self.enable, methods=["PUT"]),
            Route("/scheduler-stats/get_pools", self.pools),
            Route("/types", self.types),
            Route("/types/{id}", self.type),
            Route("/snapshots", self.snapshots),
            Route("/volumes/detail", self.volumes),
            Route("/volumes", self.create, methods=["POST"]),
            Route("/volumes/{id}", self.volume, methods=["GET"]),
            Route("/volumes/{id}", self.update, methods=["PUT"]),
            Route("/volumes/{id}", self.delete, methods=["DELETE"]),
            Route("/volumes/{id}/action", self.act, methods=["POST"]),
        ]

    async def services(self, request: Request) -> Response:
        caller_of(request).token.require_admin("volume_extension:services:index")
        binary = request.query_params.get("binary")
        rows = [self._service(host, "cinder-volume") for host in HOSTS]
        rows.insert(1, self._service("storage", "cinder-scheduler"))
        return answer({"services": [r for r in rows if binary in (None, r["binary"])]})

    async def disable(self, request: Request) -> Response:
        caller_of(request).token.require_admin("volume_extension:services:update")
        body = await json_object(request)
        self._storage.disabled[str(body.get("host"))] = body.get("disabled_reason")
        return answer({"host": body.get("host"), "status": "disabled"})

    async def enable(self, request: Request) -> Response:
        caller_of(request).token.require_admin("volume_extension:services:update")
        body = await json_object(request)
        self._storage.disabled.pop(str(body.get("host")), None)
        return answer({"host": body.get("host"), "status": "enabled"})

    async def pools(self, request: Request) -> Response:
        caller_of(request).token.require_admin("scheduler_extension:scheduler_stats:get_pools")
        detail = request.query_params.get("detail", "").lower() in ("1", "true")
        rows = [
            {"name": pool.name, **({"capabilities": self._capabilities(pool)} if detail else {})}
            for pool in self._storage.pools.values()
        ]
        return answer({"pools": rows})

    async def types(self, _request: Request) -> Response:
        return answer({"volume_types": [_type(kind) for kind in self._storage.types]})

    async def type(self, request: Request) -> Response:
        return answer({"volume_type": _type(self._storage.type(request.path_params["id"]))})

    async def snapshots(self, _request: Request) -> Response:
        return answer({"snapshots": []})

    async def volumes(self, request: Request) -> Response:
        query, token = request.query_params, caller_of(request).token
        everybody = query.get("all_tenants", "").lower() in ("1", "true") and token.is_admin
        rows = [
            v
            for v in sorted(self._storage.volumes.values(), key=lambda v: (v.created_at, v.id))
            if (everybody or v.project_id == token.project_id)
            and query.get("migration_status") in (None, v.migration_status)
        ]
        if marker := query.get("marker"):
            ids = [v.id for v in rows]
            if marker not in ids:
                raise BadRequest(f"marker [{marker}] not found")
            rows = rows[ids.index(marker) + 1 :]
        limit = min(int(query.get("limit") or 1000), self._cloud.spec.page_limit)
        content: dict[str, Any] = {"volumes": [self._view(v) for v in rows[:limit]]}
        if len(rows) >= limit and rows:
            href = f"{base_url(request)}/volume/v3/volumes/detail?marker={rows[limit - 1].id}"
            content["volumes_links"] = [{"rel": "next", "href": f"{href}&limit={limit}"}]
        return answer(content)

    async def volume(self, request: Request) -> Response:
        return answer({"volume": self._view(self._one(request))})

    async def create(self, request: Request) -> Response:
        body = (await json_object(request)).get("volume")
        if not isinstance(body, dict) or not isinstance(body.get("size"), int):
            raise BadRequest("'size' is a required property")
        user = caller_of(request).token.user
        made = self._storage.create(
            Volume(
                id=self._storage.new_id(),
                name=body.get("name") or "",
                size_gb=body["size"],
                project_id=user.project_id,
                user_id=user.id,
                created_at=self._cloud.now(),
                type=self._storage.type(body.get("volume_type")),
                metadata=dict(body.get("metadata") or {}),
                bootable=bool(body.get("imageRef")),
            )
        )
        return answer({"volume": {**self._view(made), "status": "creating"}}, 202)

    async def update(self, request: Request) -> Response:
        volume = self._one(request)
        body = (await json_object(request)).get("volume") or {}
        volume.name = body.get("name", volume.name)
        volume.metadata = body.get("metadata", volume.metadata)
        self._storage.tell("update.end", volume)
        return answer({"volume": self._view(volume)})

    async def delete(self, request: Request) -> Response:
        self._storage.delete(self._one(request))
        return empty(202)

    async def act(self, request: Request) -> Response:
        volume, body = self._one(request), await json_object(request)
        match body:
            case {"os-extend": {"new_size": int(size)}}:
                self._storage.extend(volume, size)
            case {"os-retype": {"new_type": str(kind), **how}}:
                may_move = how.get("migration_policy", "never") == "on-demand"
                self._moves.retype(volume, self._storage.type(kind), may_move=may_move)
            case {"os-migrate_volume": {"host": str(pool), **how}}:
                caller_of(request).token.require_admin("volume_extension:volume_admin_actions")
                self._moves.migrate(volume, pool, lock=bool(how.get("lock_volume", False)))
            case {"os-attach": {"instance_uuid": str(server)}}:
                self._storage.attach(volume, server)
            case {"os-detach": _}:
                self._storage.detach(volume)
            case {"os-set_bootable": {"bootable": bool(bootable)}}:
                volume.bootable = bootable
            case _:
                raise BadRequest(f"There is no such action: {', '.join(body)}")
        return empty(202)

    def _one(self, request: Request) -> Volume:
        return self._storage.get(request.path_params["id"])

    def _service(self, host: str, binary: str) -> dict[str, Any]:
        disabled = host in self._storage.disabled
        return {
            "binary": binary,
            "host": host,
            "zone": ZONE,
            "status": "disabled" if disabled else "enabled",
            "state": "up",
            "updated_at": iso_micro(self._cloud.now()),
            "disabled_reason": self._storage.disabled.get(host),
        }

    def _capabilities(self, pool: Pool) -> dict[str, Any]:
        allocated = self._storage.allocated_gb(pool)
        return {
            "pool_name": pool.name.partition("#")[2],
            "total_capacity_gb": pool.total_gb,
            "free_capacity_gb": pool.total_gb - allocated,
            "allocated_capacity_gb": allocated,
            "provisioned_capacity_gb": allocated,
            "max_over_subscription_ratio": "1.5",
            "thin_provisioning_support": True,
            "volume_backend_name": pool.backend,
            "storage_protocol": "iSCSI",
            "vendor_name": "fakecloud",
        }

    def _view(self, volume: Volume) -> dict[str, Any]:
        return {
            "id": volume.id,
            "name": volume.name,
            "size": volume.size_gb,
            "status": volume.status,
            "availability_zone": ZONE,
            "created_at": iso_micro(volume.created_at),
            "volume_type": volume.type.name if volume.type else None,
            "snapshot_id": volume.snapshot_id,
            "metadata": volume.metadata,
            "bootable": "true" if volume.bootable else "false",
            "multiattach": False,
            "user_id": volume.user_id,
            "os-vol-host-attr:host": volume.pool,
            "os-vol-tenant-attr:tenant_id": volume.project_id,
            "os-vol-mig-status-attr:migstat": volume.migration_status,
            "attachments": [
                {
                    "id": volume.id,
                    "volume_id": volume.id,
                    "server_id": server,
                    "attachment_id": attachment,
                    "device": "/dev/vdb",
                }
                for server, attachment in volume.attachments
            ],
        }


def _type(kind: VolumeType) -> dict[str, Any]:
    return {
        "id": kind.id,
        "name": kind.name,
        "is_public": True,
        "extra_specs": {"volume_backend_name": kind.backend} if kind.backend else {},
    }
