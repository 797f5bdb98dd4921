"""The statements that find one row, built once for each shape.

On the main path: every get, and every write that reads before or after itself, takes one of these. SQLAlchemy
needs longer to build a statement and its cache key than the databases to answer it.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any

import sqlalchemy as sa

from trimtab_common.store.query import names_equal
from trimtab_common.store.shapes import Shape

KEY = "key"
"""The name of the one parameter."""


class By(StrEnum):
    """What the key is. FOLDED_NAME: a name in any case."""

    ID = "id"
    UUID = "uuid"
    NAME = "name"
    FOLDED_NAME = "folded name"


@cache
def any_row(shape: Shape[Any], by: By) -> sa.Select[Any]:
    """The row with this key, even deleted or not published yet."""
    return shape.select_any().where(_matches(shape.table, by))


@cache
def visible_row(shape: Shape[Any], by: By, *, show_deleted: bool) -> sa.Select[Any]:
    """The row that readers get for this key: live rows first, then the newest of the deleted ones."""
    statement = shape.select().where(_matches(shape.table, by))
    if not show_deleted:
        statement = shape.live(statement)
    return statement.order_by(shape.table.c.deleted, shape.table.c.id).limit(1)


@cache
def insert_into(table: sa.Table) -> sa.Insert:
    """An INSERT of the columns that its parameters name."""
    return sa.insert(table)


def _matches(table: sa.Table, by: By) -> sa.ColumnElement[bool]:
    if by is By.FOLDED_NAME:
        return names_equal(table.c.name, sa.bindparam(KEY, type_=sa.String))
    return table.c[by] == sa.bindparam(KEY)
