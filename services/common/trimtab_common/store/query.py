"""What a caller asks of a list, and the statement it becomes.

On the main path: every List of the API and every sweep of decision and applier is a Query.
Operators: `state__in`, `created_at__lt`, ... (eq, neq, gt, gte, lt, lte, in, notin; A-129).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.store.shapes import Shape

MAX_IN = 500
"""Bound of one IN list; SQLite's limit on variables is far above."""


@dataclass(frozen=True, slots=True)
class Marker:
    """Where the page before ended: the id of its last row, and that row's value of the sort key."""

    id: int
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A page of one resource. `limit` None: all. `marker_id`: the last id of the page before.

    A `marker` says the same and saves the look-up of its value.

    Filters: a column or joined attribute of the record, or `goal`, `strategy`, `audit` (uuid or
    name), each with an optional operator `field__op`; a value None means IS NULL.
    """

    filters: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    marker_id: int | None = None
    marker: Marker | None = None
    sort_key: str = "id"
    sort_dir: Literal["asc", "desc"] = "asc"
    show_deleted: bool = False


_Column = sa.ColumnElement[Any]
_Condition = sa.ColumnElement[bool]


def _equal(column: _Column, value: Any) -> sa.ColumnElement[bool]:
    return column.is_(None) if value is None else column == value


def _different(column: _Column, value: Any) -> sa.ColumnElement[bool]:
    return column.is_not(None) if value is None else column != value


def _among(column: _Column, value: Any) -> sa.ColumnElement[bool]:
    return column.in_(list(value))


def _outside(column: _Column, value: Any) -> sa.ColumnElement[bool]:
    return column.not_in(list(value))


OPERATORS: dict[str, Callable[[_Column, Any], sa.ColumnElement[bool]]] = {
    "eq": _equal,
    "neq": _different,
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "in": _among,
    "notin": _outside,
}


def is_uuid(text: str) -> bool:
    """Whether the text is a uuid in its usual form."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def can_be_stored(text: str) -> bool:
    """PostgreSQL holds no NUL, and no driver sends a lone surrogate."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def names_equal(column: _Column, name: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
    """Case-insensitive: the database folds both sides, so both fold alike (A-032)."""
    return sa.func.lower(column) == sa.func.lower(name)


def condition(shape: Shape[Any], key: str, value: Any) -> sa.ColumnElement[bool]:
    """The WHERE of one filter. InvalidArgument for an unknown field or operator."""
    name, _, operator = key.partition("__")
    if isinstance(value, str) and not can_be_stored(value):
        return sa.false()
    if name in shape.names and not operator:
        uuid_column, name_column = shape.names[name]
        text = str(value)
        if is_uuid(text):
            return uuid_column == text.lower()
        return names_equal(name_column, sa.bindparam(None, text, sa.String))
    column = shape.filter_column(name)
    if column is None:
        raise InvalidArgument(f"Unknown filter {name!r} for {shape.resource.plural}.")
    if operator and operator not in OPERATORS:
        raise InvalidArgument(f"Unknown filter operator {operator!r}; use {sorted(OPERATORS)}.")
    return OPERATORS[operator or "eq"](column, value)


def statement_for(shape: Shape[Any], query: Query) -> sa.Select[Any]:
    """The one SELECT of this page, after `query.marker`."""
    if query.sort_key not in shape.resource.sort_keys:
        raise InvalidArgument(f"Sort key {query.sort_key!r} is not one of {shape.resource.plural}.")
    statement = shape.select()
    if not query.show_deleted:
        statement = shape.live(statement)
    for key, value in query.filters.items():
        statement = statement.where(condition(shape, key, value))
    table, rising = shape.table, query.sort_dir == "asc"
    key_column = table.c[query.sort_key]
    if query.marker is not None:
        marker_id, marker_value = query.marker.id, query.marker.value
        after = _after(key_column, marker_value, rising=rising)
        beyond = table.c.id > marker_id if rising else table.c.id < marker_id
        if query.sort_key == "id":
            statement = statement.where(beyond)
        else:
            tie = sa.and_(_equal(key_column, marker_value), beyond)
            statement = statement.where(tie if after is None else sa.or_(after, tie))
    order: list[sa.ColumnElement[Any]] = [table.c.id]
    if query.sort_key != "id":
        order.insert(0, key_column)
        if key_column.nullable:
            # Databases disagree on where NULL sorts; here it is the smallest.
            order.insert(0, sa.case((key_column.is_(None), 0), else_=1))
    statement = statement.order_by(*(one.asc() if rising else one.desc() for one in order))
    return statement if query.limit is None else statement.limit(query.limit)


def _after(column: _Column, value: Any, *, rising: bool) -> sa.ColumnElement[bool] | None:
    """Rows strictly beyond the marker's value, NULL being the smallest; None when none can be."""
    if value is None:
        return column.is_not(None) if rising else None
    if rising:
        above: _Condition = column > value
        return above
    return sa.or_(column < value, column.is_(None))
