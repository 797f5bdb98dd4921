from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy.exc as sa_exc

from trimtab_common.domain.errors import Bug, InvalidArgument
from trimtab_common.store import StoreBusy, StoreUnreachable, open_store, retry
from trimtab_common.store.types import to_json


class DriverError(Exception):
    def __init__(self, *args, sqlstate=None):
        super().__init__(*args)
        self.sqlstate = sqlstate


def wrapped(origin):
    return sa_exc.OperationalError("UPDATE x", {}, origin)


@pytest.mark.parametrize(
    ("origin", "transient"),
    [
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.OperationalError("no such table: x"), False),
        (DriverError("deadlock detected", sqlstate="40P01"), True),
        (DriverError("could not serialize", sqlstate="40001"), True),
        (DriverError("duplicate key", sqlstate="23505"), False),
        (DriverError(1213, "Deadlock found"), True),
        (DriverError(1205, "Lock wait timeout"), True),
        (DriverError(1205, "Lock wait timeout", sqlstate="HY000"), True),  # as asyncmy has it
        (DriverError(1062, "Duplicate entry"), False),
    ],
)
def test_only_busy_databases_and_deadlocks_are_worth_another_try(origin, transient):
    assert retry.is_transient(wrapped(origin)) is transient
    assert isinstance(retry.translated(wrapped(origin)), StoreBusy) is transient


@pytest.mark.parametrize(
    ("origin", "away"),
    [
        (DriverError(2003, "Can't connect to MySQL server", sqlstate=None), True),
        (DriverError(1040, "Too many connections", sqlstate="08004"), True),
        (DriverError(1698, "Access denied", sqlstate="28000"), True),
        (DriverError(1062, "Duplicate entry", sqlstate="23000"), False),
        (DriverError("the database system is starting up", sqlstate="57P03"), True),
        (DriverError("terminating connection", sqlstate="57P01"), True),
        (DriverError("too many clients already", sqlstate="53300"), True),
        (DriverError('role "x" does not exist', sqlstate="28000"), True),
        (DriverError("duplicate key", sqlstate="23505"), False),
        (DriverError('relation "goals" does not exist', sqlstate="42P01"), False),
        (sqlite3.OperationalError("unable to open database file"), True),
        (sqlite3.OperationalError("database or disk is full"), True),
        (sqlite3.OperationalError("no such table: goals"), False),
    ],
)
def test_a_database_that_is_away_or_keeps_us_out_is_unreachable(origin, away):
    assert isinstance(retry.translated(wrapped(origin)), StoreUnreachable) is away


def test_an_error_of_ours_raised_while_binding_comes_out_as_itself():
    ours = Bug("naive time")
    assert retry.translated(sa_exc.StatementError("m", "s", {}, ours)) is ours
    plain = ValueError("x")
    assert retry.translated(plain) is plain


async def test_an_attempt_is_repeated_until_it_succeeds():
    failures = [StoreBusy("busy")] * 3

    async def attempt():
        if failures:
            raise failures.pop()
        return "done"

    assert await retry.retried(attempt, first_pause_s=0) == "done"


async def test_it_gives_up_at_the_cap_and_never_repeats_other_errors():
    calls = []

    async def busy():
        calls.append("busy")
        raise StoreBusy("busy")

    async def broken():
        calls.append("broken")
        raise StoreUnreachable("gone")

    with pytest.raises(StoreBusy):
        await retry.retried(busy, first_pause_s=0)
    with pytest.raises(StoreUnreachable):
        await retry.retried(broken, first_pause_s=0)
    assert calls == ["busy"] * retry.MAX_ATTEMPTS + ["broken"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("oracle://x/y", "Unknown database|Can't load plugin"),
        ("sqlite+aiosqlite://", "needs a file"),
        ("sqlite+aiosqlite:///:memory:", "needs a file"),
        ("postgresql+psycopg2://h/d", r"Use postgresql\+asyncpg"),
        ("not a url", "(?i)url"),
    ],
)
async def test_a_url_that_cannot_work_says_what_does(url, message):
    with pytest.raises(InvalidArgument, match=message):
        await open_store(url)


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "mysql+asyncmy"])
async def test_a_database_that_does_not_answer_is_unreachable(driver):
    with pytest.raises(StoreUnreachable):
        await open_store(f"{driver}://somebody@127.0.0.1:1/none")


def test_what_json_cannot_carry_exactly_is_refused():
    assert to_json({"a": [1, "ß", None]}) == '{"a":[1,"ß",null]}'
    for wrong in (2**70, {1, 2}, object()):
        with pytest.raises(InvalidArgument, match="cannot be stored as JSON"):
            to_json({"a": wrong})
