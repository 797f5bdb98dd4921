"""How often an audit runs: a number of seconds or a cron text (A-052, A-090)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from croniter import CroniterBadDateError, croniter

from trimtab_common.domain.errors import InvalidArgument

MAX_LENGTH = 36
MAX_S = 100 * 366 * 86_400
_SECONDS = re.compile(r"[0-9]+")


class IntervalRefused(InvalidArgument):
    """The interval is neither seconds nor a cron text, or names a time that never comes."""

    reason = "INTERVAL_REFUSED"


def checked(value: str | int, *, now: datetime) -> str:
    """The interval as stored text; IntervalRefused also when no time after `now` matches it."""
    text = str(value).strip()
    if len(text) > MAX_LENGTH:
        raise IntervalRefused(
            f"Invalid interval '{text}': it may have at most {MAX_LENGTH} characters."
        )
    following(text, now)
    return text


def seconds_of(interval: str | None) -> int | None:
    """The seconds of an interval, None when it is a cron text; IntervalRefused for any other."""
    text = (interval or "").strip()
    if _SECONDS.fullmatch(text) and 0 < int(text) <= MAX_S:
        return int(text)
    if (" " in text or text.startswith("@")) and croniter.is_valid(text):
        return None
    raise IntervalRefused(
        f"Invalid interval '{text}': it must be a positive number of seconds or cron text such as "
        "'*/5 * * * *'."
    )


def following(interval: str | None, after: datetime) -> datetime:
    """One interval after `after`, or the next time that matches the cron text; in UTC."""
    seconds = seconds_of(interval)
    if seconds is not None:
        return after + timedelta(seconds=seconds)
    try:
        due: datetime = croniter(str(interval).strip(), after.astimezone(UTC)).get_next(datetime)
    except (CroniterBadDateError, ValueError, OverflowError):
        raise IntervalRefused(
            f"Invalid interval '{interval}': no time after {after:%Y-%m-%d %H:%M} matches this cron "
            "text. Look at its day and month."
        ) from None
    return due
