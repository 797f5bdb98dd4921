"""The store: opens the database, hands out transactions, does what needs several of them.

On the main path: `main` of api, decision and applier opens one; everything they remember goes
through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
import sqlalchemy.exc as sa_exc
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import QueuePool

from trimtab_common.domain.errors import FailedPrecondition, TrimtabError
from trimtab_common.domain.lifecycle import Actor, PlanState
from trimtab_common.domain.records import Action, ActionPlan, Lease
from trimtab_common.store import engine as engines
from trimtab_common.store import publish, retry, sweeps
from trimtab_common.store.session import Session, StoreOptions

T = TypeVar("T")
log = structlog.get_logger(__name__)
SCHEMA_REVISION = "0002"
"""The newest migration; a constant, because finding it would import alembic at every start."""
CLOSE_S = 2.0
"""An undoing takes milliseconds; what is still at work then has to go."""
CLOSE_POLL_S = 0.005


class Store:
    """One database. Open it with `open_store`; close it at the end."""

    def __init__(self, engine: AsyncEngine, options: StoreOptions) -> None:
        self._engine = engine
        self.options = options
        # SQLite has one writer: our own tasks queue here, fairly, instead of polling the file.
        self._writer: asyncio.Lock | None = (
            asyncio.Lock() if engine.dialect.name == "sqlite" else None
        )

    @property
    def dialect(self) -> str:
        """sqlite, postgresql, mysql or mariadb."""
        return self._engine.dialect.name

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Session]:
        """A transaction that changes nothing. StoreBusy or StoreUnreachable when it cannot be."""
        async with self._begun(writes=False) as connection:
            yield Session(connection, self.options, writes=False)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Session]:
        """One write transaction: commits at the end of the block, rolls back on any error.

        StoreBusy when it lost against another transaction (a deadlock, a locked file); whoever
        can repeat the whole block uses `transact`, which does.
        """
        async with self._writer or nullcontext(), self._begun(writes=True) as connection:
            session = Session(connection, self.options, writes=True)
            yield session
            await session.flush()
        session.committed()
        for work in session.work_after_commit:
            try:
                await work(self)
            except TrimtabError:
                # The block itself is committed and must not look failed: `sweep_actions` does
                # later what is left here.
                log.warning("work after a commit is left to the sweep", exc_info=True)

    async def transact(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Runs `work` in one write transaction, again from its start while the database is busy.

        `work` must change nothing but the database. A caller that is cancelled meanwhile waits for
        the end of the transaction: torn from its connection, SQLite's lock would stay behind.
        """

        async def attempt() -> T:
            async with self.write() as session:
                return await work(session)

        running = asyncio.ensure_future(retry.retried(attempt))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            if not running.cancelled():
                running.exception()  # seen; the caller hears of its cancelling only
            raise

    async def publish_plan(
        self,
        plan: ActionPlan,
        actions: Sequence[Action],
        *,
        cancel_recommended_of_audit: bool = False,
        state: PlanState = PlanState.RECOMMENDED,
        fence: Lease | None = None,
    ) -> ActionPlan:
        """Stores a plan with its actions and indicators: all of it becomes visible, or nothing.

        `cancel_recommended_of_audit`: older RECOMMENDED plans of the same audit become CANCELLED
        in the publishing transaction, their actions right after it (A-093).
        AlreadyExists; Conflict when the lease is lost.
        """
        return await publish.publish_plan(
            self,
            plan,
            actions,
            cancel_recommended=cancel_recommended_of_audit,
            state=state,
            fence=fence,
        )

    async def sweep_unpublished(self, older_than: datetime) -> int:
        """Removes what was stored of plans that never became visible; returns how many plans."""
        return await sweeps.remove_unpublished(self, older_than)

    async def sweep_actions(self) -> int:
        """Finishes actions of plans cancelled or deleted by a process that then died."""
        return await sweeps.finish_actions(self)

    async def cancel_actions_of_plan(
        self, plan_uuid: str, actor: Actor, status_message: str | None = None
    ) -> int:
        """PENDING actions of a plan become CANCELLED, in chunks; SKIPPED ones stay (A-064)."""
        return await sweeps.cancel_actions(self, plan_uuid, actor, status_message)

    async def delete_actions_of_plan(self, plan_id: int) -> int:
        """Soft-deletes the actions of a deleted plan, in chunks."""
        return await sweeps.delete_actions(self, plan_id)

    async def close(self) -> None:
        """Closes all connections; first waits for tasks that are cancelled and still undo their work.

        A connection in use would be nobody's after the pool is gone, and end with a warning or not at all.
        """
        try:
            for _ in range(int(CLOSE_S / CLOSE_POLL_S)):  # the pool tells nobody, so it is asked
                if not self._in_use():
                    break
                await asyncio.sleep(CLOSE_POLL_S)
        finally:
            await self._engine.dispose()

    def _in_use(self) -> int:
        pool = self._engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    @asynccontextmanager
    async def _begun(self, *, writes: bool) -> AsyncIterator[AsyncConnection]:
        cancels = _cancels()
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(**{engines.WRITES: writes})
                if writes:
                    await retry.retried(lambda: _begin(connection))
                yield connection
                if writes:
                    await connection.commit()
            if _cancels() > cancels:
                raise asyncio.CancelledError
        except (sa_exc.SQLAlchemyError, OSError) as error:
            if _cancels() > cancels:
                raise asyncio.CancelledError from error
            domain_error = retry.translated(error)
            if domain_error is error:
                raise
            raise domain_error from error


def _cancels() -> int:
    """How often this task was asked to end.

    asyncmy waits with `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that
    comes together with the server's answer; the task would then go on for ever.
    """
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def _begin(connection: AsyncConnection) -> None:
    """Starts the transaction now; on SQLite this is where another process may be in the way."""
    try:
        await connection.begin()
    except sa_exc.DBAPIError as error:
        raise retry.translated(error) from error


async def open_store(
    url: str,
    *,
    migrate: bool = False,
    host: str = "localhost",
    notification_level: str = "info",
    now: Callable[[], datetime] | None = None,
) -> Store:
    """Opens the database of this URL; with `migrate` its schema is brought up to date first.

    sqlite+aiosqlite:///path/file.db, postgresql+asyncpg://..., mysql+asyncmy://...
    InvalidArgument for another URL; StoreUnreachable when nothing answers; FailedPrecondition
    when the schema is not the one of this release.
    """
    parsed = engines.parse_url(url)
    if migrate:
        # Alembic costs a quarter of a second to import: only who migrates pays.
        from trimtab_common.store.migrate import upgrade  # noqa: PLC0415, see above

        await upgrade(url)
    extra: dict[str, Any] = {} if now is None else {"now": now}
    options = StoreOptions(host=host, notification_level=notification_level, **extra)
    store = Store(engines.make_engine(parsed), options)
    try:
        await _check_schema(store)
    except BaseException:
        await store.close()
        raise
    return store


async def _check_schema(store: Store) -> None:
    try:
        async with store.read() as session:
            found = (
                await session.execute(sa.text("SELECT version_num FROM alembic_version"))
            ).scalar()
    except (sa_exc.ProgrammingError, sa_exc.OperationalError):
        async with store.read() as session:  # tells a database that is away from one that is empty
            await session.execute(sa.select(1))
        found = None
    if found != SCHEMA_REVISION:
        raise FailedPrecondition(
            f"The database has {'no schema' if found is None else f'schema {found}'}, "
            f"this release needs {SCHEMA_REVISION}: run `trimtab db upgrade`."
        )
