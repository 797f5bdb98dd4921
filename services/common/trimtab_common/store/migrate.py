"""Brings a database's schema to the version this code needs, and back.

On the main path: `open_store(migrate=True)` and `trimtab db` call `upgrade`. Several processes may
start at once: one migrates, the others wait and find nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine

from trimtab_common.domain.errors import Unavailable
from trimtab_common.store import engine as engines
from trimtab_common.store import retry

SCRIPTS = Path(__file__).parent / "migrations"
_LOCK_NAME = "trimtab_migrate"
_LOCK_NUMBER = 7210533241
_LOCK_WAIT_S = 60


async def upgrade(url: str, *, revision: str = "head") -> None:
    """Migrates up to `revision`; nothing happens when it is there already."""
    await _run(url, lambda config: command.upgrade(config, revision), unless_at=revision)


async def downgrade(url: str, *, revision: str) -> None:
    """Migrates down to `revision`; "base" removes everything."""
    await _run(url, lambda config: command.downgrade(config, revision))


async def current(url: str) -> str | None:
    """The revision of the database; None when it was never migrated."""
    engine = engines.make_engine(engines.parse_url(url), statement_timeout_s=None)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_revision)
    finally:
        await engine.dispose()


def head() -> str:
    """The newest revision this code knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    return revision or "base"


async def _run(url: str, work: Callable[[Config], None], *, unless_at: str | None = None) -> None:
    engine = engines.make_engine(engines.parse_url(url), statement_timeout_s=None)
    wanted = head() if unless_at == "head" else unless_at
    try:
        await retry.retried(lambda: _locked(engine, work, wanted))
    except (sa.exc.SQLAlchemyError, OSError) as error:
        domain_error = retry.translated(error)
        if domain_error is error:
            raise
        raise domain_error from error
    finally:
        await engine.dispose()


async def _locked(engine: AsyncEngine, work: Callable[[Config], None], wanted: str | None) -> None:
    """Runs it in one transaction under a lock (MariaDB commits each DDL statement by itself)."""

    def migrate(connection: sa.Connection) -> None:
        _lock(connection)
        try:
            if wanted is None or _revision(connection) != wanted:
                config = _config()
                config.attributes["connection"] = connection
                work(config)
        finally:
            _unlock(connection)

    async with engine.connect() as connection:
        await connection.execution_options(**{engines.WRITES: True})
        if wanted is not None:
            known = await connection.run_sync(_revision)
            await connection.rollback()
            if known == wanted:
                return
        try:
            await connection.run_sync(migrate)
            await connection.commit()
        except sa.exc.DBAPIError as error:
            raise retry.translated(error) from error


def _revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _lock(connection: sa.Connection) -> None:
    """SQLite's transaction is exclusive already."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK_NUMBER})"))
    elif connection.dialect.name in {"mysql", "mariadb"}:
        taken = connection.execute(sa.text(f"SELECT GET_LOCK('{_LOCK_NAME}', {_LOCK_WAIT_S})"))
        if taken.scalar_one() != 1:
            raise Unavailable("Another process is migrating the database for too long.")


def _unlock(connection: sa.Connection) -> None:
    if connection.dialect.name in {"mysql", "mariadb"}:
        connection.execute(sa.text(f"SELECT RELEASE_LOCK('{_LOCK_NAME}')"))
