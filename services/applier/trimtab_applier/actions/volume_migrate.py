"""The action `volume_migrate`: moves a volume to another pool, or gives it another type."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

from trimtab_applier.actions.contract import ActionPlugin
from trimtab_applier.actions.volume_move import VolumeMove
from trimtab_applier.errors import ActionFailed, ActionSkipped, check_facts
from trimtab_common.domain.records import Json
from trimtab_common.openstack.cinder_writes import TypeView, VolumeView

CAN_KEEP_RUNNING = frozenset({"ACTIVE", "PAUSED"})
IN_USE, AVAILABLE = "in-use", "available"
_IS = "<is> "


class Way(StrEnum):
    """What Cinder is asked for."""

    MIGRATE = "migrate"
    RETYPE = "retype"


class VolumeMigrate(ActionPlugin):
    """Cinder moves or retypes the volume, attached ones too (B-250..B-254).

    `swap` and `cold` are the names of VMA: the destination tells which of Cinder's two ways is meant,
    and `cold` keeps off volumes in use. Nobody's user is forged and nothing is copied by hand (B-253).
    """

    action_type: ClassVar[str] = "volume_migrate"
    description: ClassVar[str] = "Moving a volume to destination_node or destination_type"
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "resource_id": {"type": "string", "minLength": 1},
            "resource_name": {"type": ["string", "null"]},
            "migration_type": {"type": "string", "enum": ["swap", "migrate", "retype", "cold"]},
            "destination_node": {"type": ["string", "null"]},
            "destination_type": {"type": ["string", "null"]},
        },
        "required": ["resource_id", "migration_type"],
        "additionalProperties": False,
    }

    @classmethod
    def lanes(cls, parameters: Mapping[str, Json]) -> tuple[str, ...]:
        """Into one pool, if it is named."""
        pool = parameters.get("destination_node")
        return (f"pool:{pool}",) if pool else ()

    async def pre_condition(self) -> None:
        """The volume is where the plan found it, and can go where it shall."""
        volume = await self.context.cinder.volume(self._uuid)
        if volume is None:
            raise ActionSkipped(f"Volume {self._uuid} not found")
        way = self._way()
        target = await self._type() if self._type_name else None
        if way is Way.RETYPE:
            assert target is not None  # noqa: S101, for mypy: _way saw a name
            if volume.type == target.name:
                raise ActionSkipped(
                    f"Volume type must be different for retyping: {self._uuid} has {target.name}"
                )
            name = target.name
        else:
            await self._check_pool(volume, target)
            name = self._pool_name
        self._check_facts(volume)
        await self._check_state(volume)
        self.context.intend(
            way=str(way),
            target=name,
            prior_pool=volume.pool,
            prior_type=volume.type,
            prior_status=volume.status,
            prior_migration_status=volume.migration_status,
        )

    async def execute(self) -> bool:
        """Asks Cinder and follows the move."""
        return await VolumeMove(self.context, self._uuid).run(is_new=True)

    async def resume(self) -> bool:
        """Looks first."""
        return await VolumeMove(self.context, self._uuid).run(is_new=False)

    async def post_condition(self) -> None:
        """Cinder tells nobody of a volume that has moved: collector is told to look (C-078)."""
        await self.context.reread("storage", self._uuid)

    def _way(self) -> Way:
        """What is asked of Cinder (B-251, B-252). ActionFailed when the destination does not say."""
        kind = self.context.parameters["migration_type"]
        if kind == "retype" or (kind in ("swap", "cold") and self._type_name):
            if not self._type_name:
                raise ActionFailed("destination type is required when migration type is retype")
            return Way.RETYPE
        if self._pool_name:
            return Way.MIGRATE
        if kind == "swap":
            raise ActionFailed("destination type is required when migration type is swap")
        raise ActionFailed(
            f"destination host or destination type is required when migration type is {kind}"
        )

    async def _type(self) -> TypeView:
        found = await self.context.cinder.volume_type(self._type_name)
        if found is None:
            raise ActionFailed(f"Volume type {self._type_name} not found")
        return found

    async def _check_pool(self, volume: VolumeView, target: TypeView | None) -> None:
        pools = await self.context.cinder.pools()
        capabilities = pools.get(self._pool_name)
        if capabilities is None:
            raise ActionFailed(f"Pool {self._pool_name} not found")
        if volume.pool == self._pool_name:
            raise ActionSkipped(f"Volume {self._uuid} is already in pool {self._pool_name}")
        if target is not None and target.name != volume.type:
            raise ActionFailed(
                f"Volume type must be same for migrating: it is {volume.type}, asked for is "
                f"{target.name}"
            )
        kind = await self.context.cinder.volume_type(volume.type) if volume.type else None
        if kind is not None and (wrong := mismatch(kind, capabilities)) is not None:
            raise ActionFailed(
                f"Volume type must be same for migrating: {kind.name} wants {wrong} is "
                f"{kind.extra_specs[wrong]}, pool {self._pool_name} has {capabilities[wrong]}"
            )

    def _check_facts(self, volume: VolumeView) -> None:
        facts = self.context.facts
        if facts.get("pool") not in (None, "", volume.pool):
            raise ActionSkipped(
                f"Volume {self._uuid} is not in pool {facts['pool']} but in {volume.pool or 'none'}"
            )
        if facts.get("type") not in (None, "", volume.type):
            change = f"its type was {facts['type']}, is {volume.type}"
            check_facts([change], f"Volume {self._uuid}")

    async def _check_state(self, volume: VolumeView) -> None:
        """Detached and available; or in use by servers that bear it (B-251, B-252)."""
        kind = self.context.parameters["migration_type"]
        if volume.status == AVAILABLE and not volume.servers:
            if kind == "cold" and await self.context.cinder.has_snapshots(self._uuid):
                raise ActionFailed(
                    f"Invalid state for cold migration: volume {self._uuid} has snapshots"
                )
            return
        if kind == "cold":
            raise ActionFailed(
                f"Invalid state for cold migration: volume {self._uuid} is {volume.status}"
            )
        if volume.status != IN_USE:
            raise ActionFailed(
                f"Invalid state for swapping volume: volume {self._uuid} is {volume.status}"
            )
        for uuid in volume.servers:
            server = await self.context.nova.server(uuid)
            status = "gone" if server is None else server.status
            if status not in CAN_KEEP_RUNNING:
                raise ActionFailed(
                    f"Invalid state for swapping volume: its instance {uuid} is {status}"
                )

    @property
    def _uuid(self) -> str:
        return str(self.context.parameters["resource_id"])

    @property
    def _pool_name(self) -> str:
        return str(self.context.parameters.get("destination_node") or "")

    @property
    def _type_name(self) -> str:
        return str(self.context.parameters.get("destination_type") or "")


def mismatch(kind: TypeView, capabilities: Mapping[str, Any]) -> str | None:
    """The first extra spec that a pool reports and has otherwise (B-254); None: they agree."""
    for key, wanted in sorted(kind.extra_specs.items()):
        has = capabilities.get(key)
        if has is not None and str(has).lower() != wanted.removeprefix(_IS).strip().lower():
            return key
    return None
