"""The column types that mean the same on SQLite, PostgreSQL and MariaDB.

On the main path: every row read or written passes through these; nothing else converts values.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from trimtab_common.domain.errors import Bug, InvalidArgument


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time with microseconds; a naive one is a bug of ours and refused."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """PostgreSQL keeps the zone; MariaDB drops microseconds unless told otherwise."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        if dialect.name in {"mysql", "mariadb"}:
            # Three drivers come with it, which a start on another database need not pay for.
            from sqlalchemy.dialects import mysql  # noqa: PLC0415, see above

            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; naive UTC where the database has no zones."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"A time without zone reached the store: {value!r}"
            raise Bug(message)
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Always aware UTC."""
        del dialect
        if value is None:
            return None
        moment: datetime = value
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)


class JsonText(TypeDecorator[Any]):
    """Free-form JSON as text: sortable and comparable everywhere, unlike the JSON types."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """MariaDB's TEXT ends at 64 KiB."""
        if dialect.name in {"mysql", "mariadb"}:
            from sqlalchemy.dialects import mysql  # noqa: PLC0415, as above

            return dialect.type_descriptor(mysql.LONGTEXT())
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Any | None, dialect: Dialect) -> str | None:
        """None is SQL NULL."""
        del dialect
        return None if value is None else to_json(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Any:
        """Plain Python values."""
        del dialect
        return None if value is None else orjson.loads(value)


class StateText(TypeDecorator[str]):
    """A short text that may come as an enum member, which not every driver takes."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The member's plain text."""
        del dialect
        return None if value is None else str.__str__(value)


def to_json(value: Any) -> str:
    """Compact JSON text. InvalidArgument for what JSON cannot carry exactly."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    except TypeError as error:
        raise InvalidArgument(f"This value cannot be stored as JSON: {error}") from error
