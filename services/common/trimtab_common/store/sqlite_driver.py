"""SQLite with one trip to the connection's thread a statement.

On the main path: `engine` opens SQLite files by this. As SQLAlchemy drives aiosqlite, a SELECT crosses to
the thread and back four times: for a cursor, the statement, its rows and the cursor's end. Each crossing
costs more CPU than most of our statements; here all four are one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)

Rows = Sequence[Any]


class _Connection(aiosqlite.Connection):
    """Its thread ends once, and nobody waits for a second end.

    When a task is cancelled while SQLAlchemy closes its connection, both the closing and the cancelled
    task stop the thread. Whoever came second waited for ever, and with it the process that had to end.
    """

    _is_stopping = False

    def stop(self) -> asyncio.Future[Any] | None:
        """Closes the connection after what waits already, and ends the thread."""
        if self._is_stopping:
            return None
        self._is_stopping = True
        return super().stop()


def _connection(database: str, **options: Any) -> _Connection:
    made = _Connection(partial(sqlite3.connect, database, **options), iter_chunk_size=64)
    made._thread.daemon = True  # noqa: SLF001, as SQLAlchemy does: no exit waits for it
    return made


class _Cursor:
    """What SQLAlchemy asks of an asynchronous cursor; it lives for one statement."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._rows: Rows = ()
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def execute(self, operation: str, parameters: Sequence[Any] = ()) -> None:
        """Runs it and takes all its rows."""
        await self._trip(lambda cursor: cursor.execute(operation, parameters))

    async def executemany(self, operation: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Runs it with each of the parameters."""
        await self._trip(lambda cursor: cursor.executemany(operation, parameters))

    async def fetchall(self) -> Rows:
        """The rows that the statement gave."""
        return self._rows

    def close(self) -> None:
        """Nothing is open between two statements."""

    async def _trip(self, run: Callable[[sqlite3.Cursor], object]) -> None:
        connection = self._connection

        def work() -> None:  # in the connection's thread
            cursor = connection._conn.cursor()  # noqa: SLF001, aiosqlite hands out no whole work
            try:
                run(cursor)
                self.description = cursor.description
                self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
                self._rows = cursor.fetchall() if cursor.description else ()
            finally:
                cursor.close()

        await connection._execute(work)  # type: ignore[no-untyped-call]  # noqa: SLF001, as above


class _AdaptedCursor(AsyncAdapt_aiosqlite_cursor):
    __slots__ = ()
    _awaitable_cursor_close = False

    def _make_new_cursor(self, connection: Any) -> Any:
        return _Cursor(connection)

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor


class _AdaptedConnection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()
    _cursor_cls = _AdaptedCursor

    def rollback(self) -> None:
        """No trip when there is nothing to undo, as after a commit."""
        try:
            idle = not self._connection.in_transaction
        except ValueError:  # it is closed
            return
        if not idle:
            super().rollback()


class OneTripDriver(AsyncAdapt_aiosqlite_dbapi):
    """The DBAPI module that `create_async_engine` is given."""

    def __init__(self) -> None:
        super().__init__(aiosqlite, sqlite3)

    def connect(self, *arguments: Any, **options: Any) -> AsyncAdapt_aiosqlite_connection:
        """A connection whose statements take one trip each."""
        made = super().connect(*arguments, **options, async_creator_fn=_connection)
        return _AdaptedConnection(self, made.driver_connection)
