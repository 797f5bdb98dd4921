"""The one place that tries a database transaction again.

On the main path: `Store.transact` and the opening of every write transaction pass here. A busy
SQLite file and a deadlock (Galera reports them at commit) are worth another try; nothing else is.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import sqlalchemy.exc as sa_exc

from trimtab_common.domain.errors import InvalidArgument, TrimtabError, Unavailable

MAX_ATTEMPTS = 10
DEADLINE_S = 20.0
FIRST_PAUSE_S = 0.01
_MAX_PAUSE_S = 1.0

_POSTGRES_TRANSIENT = {"40001", "40P01", "55P03"}  # serialization, deadlock, lock not available
_MARIADB_TRANSIENT = {1020, 1205, 1213}  # row changed, lock wait timeout, deadlock
_SQLITE_TRANSIENT = ("database is locked", "database table is locked", "database is busy")

# It cannot be reached, starts, stops, is full of connections, or does not let us in: nothing was
# changed, and what we ask for is not at fault. Classes are the first two letters of a SQLSTATE.
_POSTGRES_AWAY_CLASSES = {"08", "28"}
_POSTGRES_AWAY = {"25P03", "3D000", "53300", "57P01", "57P02", "57P03"}
_MARIADB_AWAY = {
    *(1040, 1044, 1045, 1047, 1049, 1053, 1203, 1698, 1927),
    *range(2000, 2100),  # the client's own: connection refused, lost, gone away
}
_SQLITE_AWAY = ("unable to open database", "disk i/o error", "is full", "readonly database")

T = TypeVar("T")


class StoreBusy(Unavailable):
    """The database was locked or chose this transaction as the victim of a deadlock."""

    reason = "STORE_BUSY"


class StoreUnreachable(Unavailable):
    """The database does not answer."""

    reason = "STORE_UNREACHABLE"


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may well succeed when tried again."""
    if not isinstance(error, sa_exc.DBAPIError):
        return False
    return _says(
        error,
        mariadb=_MARIADB_TRANSIENT.__contains__,
        postgres=_POSTGRES_TRANSIENT.__contains__,
        sqlite=_SQLITE_TRANSIENT,
    )


def is_away(error: BaseException) -> bool:
    """Whether the database cannot be reached or does not take our connection."""
    return isinstance(error, sa_exc.DBAPIError) and (
        error.connection_invalidated
        or _says(
            error,
            mariadb=_MARIADB_AWAY.__contains__,
            postgres=lambda state: state[:2] in _POSTGRES_AWAY_CLASSES or state in _POSTGRES_AWAY,
            sqlite=_SQLITE_AWAY,
        )
    )


def _says(
    error: sa_exc.DBAPIError,
    *,
    mariadb: Callable[[int], bool],
    postgres: Callable[[str], bool],
    sqlite: Iterable[str],
) -> bool:
    """Whether the driver's error is one of these.

    MariaDB's numbers go first: they come with a SQLSTATE that says less.
    """
    args = getattr(error.orig, "args", ())
    if args and isinstance(args[0], int):
        return mariadb(args[0])
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if state is not None:
        return postgres(state)
    return any(text in str(error.orig).lower() for text in sqlite)


def translated(error: Exception) -> Exception:
    """The domain error that callers should see for an error of the database layer."""
    if isinstance(error, sa_exc.StatementError) and isinstance(error.orig, TrimtabError):
        return error.orig
    if is_transient(error):
        return StoreBusy(f"The database is busy, try again: {_first_line(error)}")
    if isinstance(error, sa_exc.DataError):
        return InvalidArgument(f"A value does not fit its column: {_first_line(error)}")
    if is_away(error) or isinstance(error, (sa_exc.InterfaceError, sa_exc.TimeoutError, OSError)):
        return StoreUnreachable(f"The database does not answer: {_first_line(error)}")
    return error


async def retried(
    attempt: Callable[[], Awaitable[T]], *, first_pause_s: float = FIRST_PAUSE_S
) -> T:
    """The result of `attempt`, tried again while the database is busy, with growing pauses.

    StoreBusy after MAX_ATTEMPTS or DEADLINE_S. `attempt` must be one whole transaction.
    """
    end = time.monotonic() + DEADLINE_S
    pause_s = first_pause_s
    for number in range(1, MAX_ATTEMPTS + 1):
        try:
            return await attempt()
        except StoreBusy:
            if number == MAX_ATTEMPTS or time.monotonic() + pause_s > end:
                raise
        # Jitter only needs to differ between processes, so no seed and no strong source.
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311, jitter
        pause_s = min(pause_s * 2, _MAX_PAUSE_S)
    raise AssertionError  # the last attempt returned or raised


def _first_line(error: Exception) -> str:
    origin = error.orig if isinstance(error, sa_exc.DBAPIError) else error
    return str(origin).splitlines()[0] if str(origin) else type(origin).__name__
