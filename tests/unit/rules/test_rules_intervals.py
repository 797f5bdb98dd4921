"""Intervals and times as clients write them."""

import os
import time
from datetime import UTC, datetime

import pytest

from trimtab_common.rules import intervals, times

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.mark.req("A-052", "A-018")
@pytest.mark.parametrize("good", ["1", 3600, "*/5 * * * *", "0 0 * * mon", "@hourly"])
def test_intervals_are_seconds_or_cron_text(good):
    assert intervals.checked(good, now=NOW) == str(good)


@pytest.mark.req("A-052", "A-018")
@pytest.mark.parametrize(
    "bad",
    [
        *("", "0", "-1", "1.5", "soon", "61 * * * *", "* * *", "9" * 30),
        "*/5 * * * *" + " " * 40 + "x",
        *("0 0 30 2 *", "0 0 31 4,6 *", "* * * * * * 1999"),
    ],
)
def test_other_intervals_are_refused(bad):
    with pytest.raises(intervals.IntervalRefused, match="Invalid interval"):
        intervals.checked(bad, now=NOW)


@pytest.mark.req("A-062")
@pytest.mark.parametrize(
    ("interval", "due"),
    [
        ("90", datetime(2026, 3, 1, 8, 1, 30, tzinfo=UTC)),
        ("0 9 * * *", datetime(2026, 3, 1, 9, tzinfo=UTC)),
    ],
)
def test_the_next_run_follows_from_the_interval(interval, due):
    assert intervals.following(interval, NOW) == due


@pytest.fixture
def in_tokyo():
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.req("A-053")
@pytest.mark.usefixtures("in_tokyo")
@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-01T09:30:00", "2026-03-01T00:30:00+00:00"),
        ("2026-03-01 09:30", "2026-03-01T00:30:00+00:00"),
        ("2026-03-01T09:30:00Z", "2026-03-01T09:30:00+00:00"),
        ("2026-03-01T09:30:00-03:00", "2026-03-01T12:30:00+00:00"),
    ],
)
def test_times_without_an_offset_are_the_servers_own(text, utc):
    assert times.parsed(text).isoformat() == utc
