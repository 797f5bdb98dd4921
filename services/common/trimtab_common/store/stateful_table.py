"""State changes of audits, action plans and actions: compare-and-set along the lifecycle tables.

On the main path: every claim, start, end, cancel and delete is `transition`. Whoever loses a race
gets Conflict and must read again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic

import sqlalchemy as sa

from trimtab_common.domain import lifecycle
from trimtab_common.domain.errors import Conflict, FailedPrecondition
from trimtab_common.domain.lifecycle import Actor
from trimtab_common.domain.records import Lease
from trimtab_common.store.resource_table import ResourceTable, truncated
from trimtab_common.store.shapes import R, Shape

if TYPE_CHECKING:
    from trimtab_common.store.session import Session


class StatefulTable(ResourceTable[R], Generic[R]):
    """A resource with a state machine."""

    def __init__(
        self,
        session: Session,
        shape: Shape[R],
        *,
        transitions: lifecycle.Transitions,
        deleted: StrEnum,
    ) -> None:
        super().__init__(session, shape)
        self.transitions = transitions
        self._deleted = deleted

    async def transition(
        self,
        uuid: str,
        *,
        to: StrEnum,
        actor: Actor,
        source: StrEnum | Iterable[StrEnum] | None = None,
        fence: Lease | None = None,
        **columns: Any,
    ) -> R:
        """Moves one resource to state `to`, with `columns` in the same write.

        NotFound; TransitionNotAllowed by the lifecycle table; Conflict when the state is not in
        `source`, changed meanwhile, or the lease is no longer the current one.
        """
        self._check_columns(columns)
        await self._session.leases.check(fence)
        before = await self._find(uuid)
        if before is None:
            raise self._not_found(uuid)
        old = state_of(before)
        if source is not None and old not in as_states(source):
            raise Conflict(
                f"{self.shape.noun} {uuid} is {old}, not {_listed(as_states(source))}.",
                state=str(old),
            )
        lifecycle.check(self.transitions, old, to, actor)
        return await self._compare_and_set(before, to, truncated(columns))

    async def update_in(
        self, uuid: str, values: Mapping[str, Any], *, source: StrEnum | Iterable[StrEnum]
    ) -> R:
        """Changes plain columns while the state is one of `source`, by compare-and-set.

        NotFound; Conflict when it is in another state, or left its own meanwhile.
        """
        self._check_columns(values)
        self._check_texts(values)
        table, states = self.shape.table, as_states(source)
        columns = {**truncated(values), "updated_at": self._session.now()}
        statement = (
            sa.update(table)
            .where(self._key_is(uuid), table.c.deleted == 0)
            .where(table.c.state.in_([str(state) for state in states]))
            .values(columns)
        )
        if (await self._session.execute(statement)).rowcount != 1:
            now = await self._find(uuid)
            if now is None:
                raise self._not_found(uuid)
            old = state_of(now)
            raise Conflict(
                f"{self.shape.noun} {uuid} is {old}, not {_listed(states)}.", state=str(old)
            )
        stored = await self._after_write(uuid)
        await self._session.announcer.saved(stored, "update")
        return stored

    async def soft_delete(self, uuid: str, *, actor: Actor = Actor.API) -> None:
        """To DELETED and hidden; emits update, then delete (A-123). FailedPrecondition by state."""
        before = await self._find(uuid)
        if before is None:
            raise self._not_found(uuid)
        old = state_of(before)
        if not lifecycle.is_allowed(self.transitions, old, self._deleted, actor):
            raise FailedPrecondition(f"Couldn't delete when state is '{old}'.", state=str(old))
        now = self._session.now()
        gone = await self._compare_and_set(
            before, self._deleted, {"deleted": before.id, "deleted_at": now}
        )
        await self._session.announcer.saved(gone, "delete")

    async def _compare_and_set(self, before: R, to: StrEnum, columns: dict[str, Any]) -> R:
        table, old = self.shape.table, state_of(before)
        values = {**columns, "state": str(to), "updated_at": self._session.now()}
        values |= self._extra_on_transition(to)
        statement = (
            sa.update(table)
            .where(table.c.id == before.id, table.c.state == str(old), table.c.deleted == 0)
            .values(values)
        )
        if (await self._session.execute(statement)).rowcount != 1:
            raise Conflict(
                f"{self.shape.noun} {self._ident(before)} changed from {old} meanwhile.",
                state=str(old),
            )
        if any(name.endswith("_id") for name in columns):
            after = await self.by_id(before.id)
        else:
            shown = {name: value for name, value in values.items() if name in self.shape.columns}
            after = dataclasses.replace(before, **{**shown, "state": to})
        await self._session.announcer.saved(after, "update", old_state=str(old))
        return after

    def _extra_on_transition(self, to: StrEnum) -> dict[str, Any]:
        """Columns that no record shows."""
        del to
        return {}

    def _ident(self, record: R) -> str:
        return str(getattr(record, "uuid", record.id))


def state_of(record: Any) -> StrEnum:
    """The state of a record that has one."""
    state: StrEnum = record.state
    return state


def as_states(source: StrEnum | Iterable[StrEnum]) -> frozenset[StrEnum]:
    """One state or several as a set; a StrEnum is itself an iterable of characters."""
    return frozenset({source}) if isinstance(source, StrEnum) else frozenset(source)


def _listed(states: frozenset[StrEnum]) -> str:
    return " or ".join(sorted(states))
