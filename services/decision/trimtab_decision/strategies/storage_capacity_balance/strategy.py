"""Storage capacity balance: volumes off pools that are nearly full.

Goal: workload_balancing. Metrics: none; needs the storage model. Detached volumes first, then
attached ones, bootable ones last; replicated ones after all others (B-150..B-157). Example with
numbers: README.md beside this file, which a test runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.storage import (
    POOL,
    VOLUME,
    VOLUME_TYPE,
    PoolRow,
    VolumeRow,
    VolumeTypeRow,
)
from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.framework.errors import ClusterStateNotDefined
from trimtab_decision.strategies.storage_capacity_balance import params
from trimtab_decision.strategies.volume_moves import add_volume_move

BACKEND = "volume_backend_name"
REPLICATION = "replication_enabled"
"""Extra specs of volume types."""


class StorageCapacityBalance(Strategy):
    """Threshold on the used part of a pool."""

    name: ClassVar[str] = "storage_capacity_balance"
    display_name: ClassVar[str] = "Storage Capacity Balance Strategy"
    goal_name: ClassVar[str] = "workload_balancing"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    needs_storage_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Pool by pool, until each is below the threshold or nothing fits elsewhere."""
        if context.storage is None:
            raise ClusterStateNotDefined(
                "The storage model is not defined: collector reads no Cinder. "
                "Configure it, then create the audit again."
            )
        field = _Field(context.storage, context.parameters)
        over = [pool for pool in field.pools if pool.used_gib >= field.limit * pool.total_gib]
        if not over:
            solution.note(field.quiet_text())
        for pool in over:
            for volume in field.leaving(pool):
                if pool.used_gib < field.limit * pool.total_gib:
                    break
                field.move(volume, pool, [p for p in field.pools if p not in over], solution)
            if pool.used_gib >= field.limit * pool.total_gib:
                solution.note(
                    f"Pool {pool.name} stays above the threshold: no volume fits elsewhere."
                )

    def post_execute(self, context: StrategyContext, solution: Solution) -> None:  # noqa: ARG002, of the contract
        """No server moves (B-157)."""
        solution.set_indicator("instance_migrations_count", 0)
        solution.set_indicator("instances_count", 0)


@dataclass(slots=True, eq=False)
class _Level:
    """A pool that fills and empties as volumes are planned."""

    name: str
    backend_name: str
    total_gib: float
    free_gib: float
    allocated_gib: float
    ratio: float

    @property
    def used_gib(self) -> float:
        return self.total_gib - self.free_gib

    def has_room(self, size_gib: int, limit: float) -> bool:
        """B-153: within over-subscription, and below the threshold afterwards."""
        allowed = self.total_gib * self.ratio >= self.allocated_gib + size_gib
        return allowed and self.free_gib - size_gib > (1.0 - limit) * self.total_gib


class _Field:
    def __init__(self, storage: ElementSnapshot, given: Mapping[str, Any]) -> None:
        self.storage = storage
        self.limit = float(given["volume_threshold"]) / 100.0
        excluded = set(given["ex_pools"])
        self.pools = [
            level
            for pool in storage.of(POOL)
            if (level := _level(pool)) is not None
            and (pool.pool_name or _short(pool.name)) not in excluded
        ]
        self.types: dict[str, VolumeTypeRow] = {one.name: one for one in storage.of(VOLUME_TYPE)}

    def quiet_text(self) -> str:
        """That no pool is above the threshold, and how near the fullest is."""
        text = f"No pool is at or above the threshold of {100 * self.limit:g} %"
        if self.pools:
            pool = max(self.pools, key=lambda p: p.used_gib / p.total_gib)
            text += f": {pool.name} is {100 * pool.used_gib / pool.total_gib:.1f} % full"
        return text + "; nothing to do."

    def leaving(self, pool: _Level) -> list[VolumeRow]:
        """The volumes of the pool that may move, in their order (B-151, B-152, B-155)."""
        movable = [
            volume
            for volume in self.storage.of(VOLUME)
            if volume.pool == pool.name
            and volume.status in {"available", "in-use"}
            and not volume.snapshot_id
            and volume.migration_status in {"", "none", "success"}
        ]
        return sorted(
            movable,
            key=lambda v: (
                self._is_replicated(v),
                v.status == "in-use",
                v.status == "in-use" and v.bootable,
                v.size_gb,
                v.uuid,
            ),
        )

    def _is_replicated(self, volume: VolumeRow) -> bool:
        kind = self.types.get(volume.volume_type)
        return kind is not None and kind.extra_specs.get(REPLICATION, "").lower().endswith("true")

    def move(
        self, volume: VolumeRow, source: _Level, targets: list[_Level], solution: Solution
    ) -> None:
        """To the pool with the largest free part that can take it; retyped when it has a type."""
        by_room = sorted(targets, key=lambda p: (-p.free_gib / p.total_gib, p.name))
        for target in by_room:
            if not target.has_room(volume.size_gb, self.limit):
                solution.rejections["room in the pool"] += 1
                continue
            kind, where = "migrate", target.name
            if volume.volume_type:
                other = self._type_on(target, volume.volume_type)
                if other is not None:
                    kind, where = "retype", other
                elif not self._is_at_home(target, volume.volume_type):
                    solution.rejections["volume type"] += 1
                    continue
            used_pct = 100.0 * source.used_gib / source.total_gib
            reason = (
                f"Pool {source.name} is {used_pct:.1f} % full, {target.name} has the most room."
            )
            add_volume_move(solution, volume, kind=kind, target=where, reason=reason)
            source.free_gib += volume.size_gb
            source.allocated_gib -= volume.size_gb
            target.free_gib -= volume.size_gb
            target.allocated_gib += volume.size_gb
            return

    def _is_at_home(self, target: _Level, current: str) -> bool:
        """The type itself is of the target's backend: a second pool of it needs no other type."""
        now = self.types.get(current)
        return now is not None and now.extra_specs.get(BACKEND) == target.backend_name

    def _type_on(self, target: _Level, current: str) -> str | None:
        """A type like the current one, but on the target's backend (B-153)."""
        now = self.types.get(current)
        if now is None:
            return None
        for other in sorted(self.types.values(), key=lambda one: one.name):
            is_there = other.extra_specs.get(BACKEND) == target.backend_name
            if other.name != current and is_there and _others(other) == _others(now):
                return other.name
        return None


def _others(one: VolumeTypeRow) -> dict[str, str]:
    return {key: value for key, value in one.extra_specs.items() if key != BACKEND}


def _level(pool: PoolRow) -> _Level | None:
    """None when the pool does not say its capacity."""
    if pool.total_gb is None or pool.free_gb is None or pool.total_gb <= 0:
        return None
    return _Level(
        name=pool.name,
        backend_name=pool.backend_name,
        total_gib=pool.total_gb,
        free_gib=pool.free_gb,
        allocated_gib=pool.allocated_gb or 0.0,
        ratio=pool.max_over_subscription_ratio or 1.0,
    )


def _short(name: str) -> str:
    """What follows the # of a pool's name: the pool_name capability."""
    return name.rpartition("#")[2]
