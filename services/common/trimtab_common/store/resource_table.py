"""Reads and plain writes of one resource's table.

On the main path: `session.audits`, `session.goals`, ... are these. State never changes here;
`stateful_table` does that.
"""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic
from uuid import uuid4

import sqlalchemy as sa
import sqlalchemy.exc as sa_exc

from trimtab_common.domain.errors import AlreadyExists, Bug, Conflict, InvalidArgument, NotFound
from trimtab_common.domain.records import Lease
from trimtab_common.store import look_up
from trimtab_common.store import query as queries
from trimtab_common.store.look_up import By
from trimtab_common.store.query import Marker, Query
from trimtab_common.store.shapes import R, Shape

if TYPE_CHECKING:
    from trimtab_common.store.session import Session

STATUS_MESSAGE_LENGTH = 255
_UNTOUCHABLE = frozenset(
    {"id", "uuid", "state", "created_at", "deleted_at", "deleted", "visible", "actions_follow"}
)
QUIET = frozenset({"reason", "explanation", "facts", "intent", "result"})
"""Columns of our own: a change of these alone is no event on the bus."""


class ResourceTable(Generic[R]):
    """One resource within one transaction."""

    def __init__(self, session: Session, shape: Shape[R]) -> None:
        self._session = session
        self.shape = shape

    async def get(self, ident: int | str, *, show_deleted: bool = False) -> R:
        """By integer id, uuid or name (any case). NotFound."""
        text = str(ident)
        if not queries.can_be_stored(text):
            raise self._not_found(ascii(text))
        table = self.shape.table
        if isinstance(ident, int) or (text.isascii() and text.isdecimal()):
            found = await self._shown(By.ID, _as_key(text), show_deleted=show_deleted)
        elif queries.is_uuid(text) and "uuid" in table.c:
            found = await self._shown(By.UUID, text.lower(), show_deleted=show_deleted)
        elif "name" in table.c:
            # The exact name has an index; only a look-up in another case reads further.
            found = await self._shown(By.NAME, text, show_deleted=show_deleted)
            found = found or await self._shown(By.FOLDED_NAME, text, show_deleted=show_deleted)
        else:
            found = None
        if found is None:
            raise self._not_found(text)
        return found

    async def by_id(self, key: int) -> R:
        """The row with this id whatever its state: deleted or not yet published. NotFound."""
        records = await self._records(look_up.any_row(self.shape, By.ID), key)
        if not records:
            raise self._not_found(str(key))
        return records[0]

    async def list(self, query: Query | None = None) -> builtins.list[R]:
        """A page in a constant number of statements. NotFound for an unknown marker."""
        query = query or Query()
        if query.marker_id is not None and query.marker is None:
            marker = await self.marker(query.marker_id, sort_key=query.sort_key)
            query = dataclasses.replace(query, marker=marker)
        return await self._records(queries.statement_for(self.shape, query))

    async def marker(self, ident: int | str, *, sort_key: str = "id") -> Marker:
        """Where this row stands in a list; a soft-deleted row stands where it stood. NotFound."""
        table = self.shape.table
        if sort_key not in self.shape.resource.sort_keys:
            raise InvalidArgument(
                f"Sort key {sort_key!r} is not one of {self.shape.resource.plural}."
            )
        key = table.c.id == ident if isinstance(ident, int) else self._key_is(ident)
        statement: sa.Select[Any] = sa.select(table.c.id, table.c[sort_key].label("value"))
        row = (await self._session.execute(statement.where(key))).mappings().first()
        if row is None:
            raise self._not_found(str(ident))
        return Marker(row["id"], row["value"])

    async def count(self, query: Query | None = None) -> int:
        """How many rows the filters match."""
        query = dataclasses.replace(
            query or Query(), limit=None, marker_id=None, marker=None, sort_key="id"
        )
        inner = queries.statement_for(self.shape, query).order_by(None)
        statement = sa.select(sa.func.count()).select_from(
            inner.with_only_columns(self.shape.table.c.id).subquery()
        )
        return int((await self._session.execute(statement)).scalar_one())

    async def create(self, record: R, *, notify: bool = True) -> R:
        """Stores it; uuid and times are filled in. AlreadyExists for a uuid or name taken.

        An error ends the transaction: on PostgreSQL nothing more can run in it.
        """
        values = self._row(record)
        self._check_texts(values)
        values["created_at"] = record.created_at or self._session.now()
        if "uuid" in self.shape.table.c and not values.get("uuid"):
            values["uuid"] = str(uuid4())
        values.pop("id")
        values |= self._extra_on_insert()
        try:
            result = await self._session.execute(look_up.insert_into(self.shape.table), values)
        except sa_exc.IntegrityError as error:
            raise self._integrity(error, values) from error
        stored = await self.by_id(_inserted_key(result))
        if notify:
            await self._session.announcer.saved(stored, "create")
        return stored

    async def update(
        self,
        uuid: str,
        values: Mapping[str, Any],
        *,
        fence: Lease | None = None,
        notify: bool = True,
    ) -> R:
        """Changes plain columns, never the state. NotFound; Conflict when the lease is lost."""
        self._check_columns(values)
        self._check_texts(values)
        await self._session.leases.check(fence)
        columns = {**truncated(values), "updated_at": self._session.now()}
        table = self.shape.table
        statement = sa.update(table).where(self._key_is(uuid), table.c.deleted == 0).values(columns)
        try:
            result = await self._session.execute(statement)
        except sa_exc.IntegrityError as error:
            raise self._integrity(error, values) from error
        if result.rowcount != 1:
            raise self._not_found(uuid)
        stored = await self._after_write(uuid)
        if notify and not QUIET.issuperset(values):
            await self._session.announcer.saved(stored, "update")
        return stored

    async def soft_delete(self, uuid: str) -> None:
        """Hides the row and frees its name. NotFound when it is not there or already deleted."""
        table, now = self.shape.table, self._session.now()
        statement = (
            sa.update(table)
            .where(self._key_is(uuid), table.c.deleted == 0)
            .values(deleted=table.c.id, deleted_at=now, updated_at=now)
        )
        if (await self._session.execute(statement)).rowcount != 1:
            raise self._not_found(uuid)

    # -- for the subclasses ------------------------------------------------------------------

    async def _records(
        self, statement: sa.Select[Any], key: int | str | None = None
    ) -> builtins.list[R]:
        """`key`: of a statement of `look_up`."""
        values = None if key is None else {look_up.KEY: key}
        rows = (await self._session.execute(statement, values)).mappings()
        return await self._completed([self.shape.build(dict(row)) for row in rows])

    async def _completed(self, records: builtins.list[R]) -> builtins.list[R]:
        """Hook: fills what one row cannot hold, for all records in one statement."""
        return records

    def _extra_on_insert(self) -> dict[str, Any]:
        """Hook: columns that records do not show."""
        return {}

    async def _shown(self, by: By, key: int | str, *, show_deleted: bool = False) -> R | None:
        statement = look_up.visible_row(self.shape, by, show_deleted=show_deleted)
        records = await self._records(statement, key)
        return records[0] if records else None

    async def _find(self, uuid: str) -> R | None:
        """The live row."""
        return await self._shown(*self._key(uuid))

    async def _after_write(self, uuid: str) -> R:
        by, key = self._key(uuid)
        return (await self._records(look_up.any_row(self.shape, by), key))[0]

    def _row(self, record: R) -> dict[str, Any]:
        return truncated({name: getattr(record, name) for name in self.shape.columns})

    def _key(self, uuid: str) -> tuple[By, int | str]:
        """Services have no uuid: there it is the id."""
        if "uuid" in self.shape.table.c:
            return By.UUID, uuid
        return By.ID, _as_key(str(uuid))

    def _key_is(self, uuid: str) -> sa.ColumnElement[bool]:
        by, key = self._key(uuid)
        return self.shape.table.c[by] == key

    def _check_columns(self, changes: Mapping[str, Any]) -> None:
        wrong = [n for n in changes if n not in self.shape.columns or n in _UNTOUCHABLE]
        if wrong:
            message = f"Not plain columns of {self.shape.resource.plural}: {', '.join(wrong)}"
            raise Bug(message)

    def _check_texts(self, values: Mapping[str, Any]) -> None:
        """SQLite would take any length, PostgreSQL no NUL, no driver a lone surrogate."""
        for name, value in truncated(values).items():
            if not isinstance(value, str):
                continue
            bound = self.shape.resource.by_name[name].max_length
            if bound is not None and len(value) > bound:
                raise InvalidArgument(f"{name} is longer than {bound} characters.")
            if not queries.can_be_stored(value):
                raise InvalidArgument(f"{name} has characters that cannot be stored.")

    def _not_found(self, ident: str) -> NotFound:
        return NotFound(
            f"{self.shape.noun} {ident} could not be found.",
            resource=self.shape.resource.name,
            ident=ident,
        )

    def _integrity(self, error: sa_exc.IntegrityError, values: Mapping[str, Any]) -> Exception:
        """The domain error for a broken constraint, which every driver words differently."""
        text = str(error.orig).lower()
        if "foreign key" in text:
            return Conflict(f"{self.shape.noun} refers to a row that does not exist.")
        if "unique" in text or "duplicate" in text:
            ident = values.get("name") or values.get("uuid") or ""
            article = "An" if self.shape.noun[0] in "AEIO" else "A"
            return AlreadyExists(
                f"{article} {self.shape.resource.name} with UUID or name {ident} already exists."
            )
        return error


def _inserted_key(result: sa.CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    if key is None:
        message = "An INSERT gave no key"
        raise Bug(message)
    return int(key[0])


_MAX_KEY = 2**31 - 1
_MAX_KEY_DIGITS = 10  # and Python refuses to read numbers of thousands of digits


def _as_key(text: str) -> int:
    """An id within what an INTEGER column can hold; 0 matches nothing."""
    key = int(text[:_MAX_KEY_DIGITS])
    return key if len(text) <= _MAX_KEY_DIGITS and key <= _MAX_KEY else 0


def truncated(values: Mapping[str, Any]) -> dict[str, Any]:
    """A status message too long must not stop a state change (A-131)."""
    result = dict(values)
    message = result.get("status_message")
    if message is not None:
        result["status_message"] = message[:STATUS_MESSAGE_LENGTH]
    return result
