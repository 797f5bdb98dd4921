"""How a connection to each database is opened and a transaction begun.

On the main path: `open_store` makes one engine per process here. PLATFORM §5 has the measurements.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc as sa_exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.store.sqlite_driver import OneTripDriver

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mariadb+asyncmy",
}
BUSY_TIMEOUT_MS = 5000
POOL_SIZE = 8
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 30.0
"""A database behind a broken network never answers; a lease must not hang on it."""
IDLE_TRANSACTION_S = 8
"""The server ends a transaction that says nothing for so long. A process that is stopped in the middle of one would
hold its row locks, and with them its lease, for as long as it is stopped: nobody could take over."""
WRITES = "trimtab_writes"
"""The execution option that makes SQLite take the write lock at once."""


_MARIADB_IDLE = "SET @trimtab = 1 /*M!100300 , SESSION idle_transaction_timeout = {} */"
"""What stands in the comment is read by MariaDB only; MySQL knows no such limit."""


def parse_url(text: str) -> URL:
    """The URL with our driver filled in. InvalidArgument says which URLs work."""
    try:
        url = make_url(text)
    except (sa_exc.ArgumentError, ValueError) as error:
        raise InvalidArgument(f"The database URL cannot be read: {error}") from error
    backend = url.get_backend_name()
    if backend not in DRIVERS:
        raise InvalidArgument(f"Unknown database {backend!r}; use one of {sorted(DRIVERS)}.")
    if url.drivername == backend:
        url = url.set(drivername=DRIVERS[backend])
    if url.drivername != DRIVERS[backend]:
        raise InvalidArgument(f"Use {DRIVERS[backend]}:// instead of {url.drivername}://.")
    if backend == "sqlite" and (not url.database or url.database == ":memory:"):
        raise InvalidArgument("SQLite needs a file: several connections share it.")
    return url


def make_engine(
    url: URL,
    *,
    statement_timeout_s: float | None = STATEMENT_TIMEOUT_S,
    idle_transaction_s: int = IDLE_TRANSACTION_S,
) -> AsyncEngine:
    """An engine whose transactions behave the same on all three databases.

    `statement_timeout_s` None: a statement may take as long as it likes, as a migration's may; then
    a transaction may also be idle for ever.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            url, module=OneTripDriver(), pool_size=POOL_SIZE, max_overflow=0
        )
        sa.event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        sa.event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    idle_s = 0 if statement_timeout_s is None else idle_transaction_s
    if url.get_backend_name() == "postgresql":
        connect_args: dict[str, Any] = {
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": statement_timeout_s,
            "server_settings": {"idle_in_transaction_session_timeout": f"{idle_s}s"},
        }
    else:
        connect_args = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": statement_timeout_s,
            "init_command": _MARIADB_IDLE.format(idle_s),
        }
    options: dict[str, Any] = {
        "pool_size": POOL_SIZE,
        "max_overflow": POOL_SIZE,
        "connect_args": connect_args,
    }
    # READ COMMITTED: compare-and-set needs no snapshot, and MariaDB takes no gap locks.
    return create_async_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_recycle=1800,
        **options,
    )


def _prepare_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """Autocommit mode, so that `_begin_sqlite` alone decides how a transaction begins."""
    del record
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    """A writer that read first and locked later would fail at once, whatever the timeout."""
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
