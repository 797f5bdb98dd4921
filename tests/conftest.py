"""What all tests share: requirement marks in the JUnit file, and the real services of this machine.

Fixtures: `postgres_url` and `mariadb_url` (SQLAlchemy URLs of a database that this session made and
will drop), `rabbitmq_url`, `reference` (the folder that TRIMTAB_REFERENCE names). A service that does
not answer skips the test, and fails it when CI=true: a green run there has seen them all.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit, urlunsplit

import pytest

ANSWER_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Service:
    """A real service that tests may use, where it answers unless `variable` says otherwise."""

    name: str
    variable: str
    default_url: str

    @property
    def url(self) -> str:
        return os.environ.get(self.variable) or self.default_url

    @property
    def place(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}"


SERVICES = {
    "postgres_url": Service(
        "PostgreSQL",
        "TRIMTAB_TEST_POSTGRES_URL",
        "postgresql+asyncpg://postgres@127.0.0.1:5432/test",
    ),
    "mariadb_url": Service(
        "MariaDB", "TRIMTAB_TEST_MARIADB_URL", "mysql+asyncmy://root@127.0.0.1:3306/test"
    ),
    "rabbitmq_url": Service(
        "RabbitMQ", "TRIMTAB_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/"
    ),
}
FOUND = pytest.StashKey[dict[str, str]]()
WANTED = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FOUND] = {}
    config.stash[WANTED] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        ids = {i for mark in item.iter_markers("req") for i in mark.args}
        item.user_properties.extend(("req", i) for i in sorted(ids))


def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[WANTED].update(SERVICES.keys() & set(getattr(item, "fixturenames", ())))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    terminalreporter.section("real services", sep="-")
    for fixture, service in SERVICES.items():
        tests = config.stash[WANTED][fixture]
        found = config.stash[FOUND].get(fixture, "not asked for")
        terminalreporter.line(f"{service.name} {service.place}: {found} ({tests} tests want it)")


def in_a_thread(work: Callable[[], Coroutine[Any, Any, str]]) -> str:
    """Runs a coroutine to its end beside the tests' own event loop, within the time a service has."""

    async def limited() -> str:
        return await asyncio.wait_for(work(), ANSWER_WITHIN_S)

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(lambda: asyncio.run(limited())).result()


def give_up(request: pytest.FixtureRequest, fixture: str, reason: str) -> NoReturn:
    """Skips what asked for a service that does not answer; fails it in CI."""
    service = SERVICES[fixture]
    request.config.stash[FOUND][fixture] = f"no answer: {reason}"
    message = (
        f"{service.name} does not answer at {service.place} (set {service.variable}): {reason}"
    )
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(message)
    pytest.skip(message)


def throw_away_database(
    request: pytest.FixtureRequest, fixture: str, execute: Callable[[str, str], str]
) -> Iterator[str]:
    """Makes a database of a fresh name, gives its URL, drops it."""
    service = SERVICES[fixture]
    name = f"trimtab_test_{uuid.uuid4().hex[:12]}"
    try:
        version = execute(service.url, f"CREATE DATABASE {name}")
    except Exception as error:  # noqa: BLE001, drivers raise many kinds, and each means "not to be had"
        give_up(request, fixture, f"{type(error).__name__}: {error}")
    request.config.stash[FOUND][fixture] = f"used, version {version}"
    try:
        yield urlunsplit(urlsplit(service.url)._replace(path=f"/{name}"))
    finally:
        execute(service.url, f"DROP DATABASE {name}")


def execute_on_postgres(url: str, statement: str) -> str:
    """Runs one statement outside a transaction; returns the server's version."""
    import asyncpg

    async def work() -> str:
        connection = await asyncpg.connect(url.replace("postgresql+asyncpg:", "postgresql:", 1))
        try:
            await connection.execute(statement)
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    return in_a_thread(work)


def execute_on_mariadb(url: str, statement: str) -> str:
    """Runs one statement; returns the server's version."""
    import asyncmy

    parts = urlsplit(url)

    async def work() -> str:
        connection = await asyncmy.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username or "root",
            password=unquote(parts.password or ""),
        )
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(statement)
                await cursor.execute("SELECT VERSION()")
                return str((await cursor.fetchone())[0])
        finally:
            connection.close()

    return in_a_thread(work)


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from throw_away_database(request, "postgres_url", execute_on_postgres)


@pytest.fixture(scope="session")
def mariadb_url(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from throw_away_database(request, "mariadb_url", execute_on_mariadb)


@pytest.fixture(scope="session")
def rabbitmq_url(request: pytest.FixtureRequest) -> str:
    """The broker's URL. A test names its exchanges and queues itself, freshly, and deletes them."""
    service = SERVICES["rabbitmq_url"]
    parts = urlsplit(service.url)
    try:
        with socket.create_connection(
            (parts.hostname or "", parts.port or 5672), timeout=ANSWER_WITHIN_S
        ) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            frame = connection.recv(1)
    except OSError as error:
        give_up(request, "rabbitmq_url", str(error))
    if frame != b"\x01":  # a method frame: Connection.Start
        give_up(request, "rabbitmq_url", "what listens there does not speak AMQP 0-9-1")
    request.config.stash[FOUND]["rabbitmq_url"] = "used"
    return service.url


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder that TRIMTAB_REFERENCE names; without the variable the test is skipped."""
    named = os.environ.get("TRIMTAB_REFERENCE")
    if not named:
        pytest.skip("TRIMTAB_REFERENCE is not set")
    folder = Path(named).resolve()
    if not folder.is_dir():
        pytest.fail(f"TRIMTAB_REFERENCE names no folder: {folder}")
    return folder
