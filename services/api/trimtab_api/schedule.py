"""Checks intervals and times of audits, and says when one is next due (A-052, A-053, A-062)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from croniter import CroniterBadDateError, croniter

from trimtab_common.domain.errors import InvalidArgument

MAX_INTERVAL_LENGTH = 36
MAX_INTERVAL_S = 100 * 366 * 86_400
_SECONDS = re.compile(r"[0-9]+")


def checked_interval(value: str | int) -> str:
    """The interval as stored text: positive seconds or cron text; else InvalidArgument."""
    text = str(value).strip()
    if len(text) > MAX_INTERVAL_LENGTH:
        raise InvalidArgument(
            f"Invalid interval '{text}': it may have at most {MAX_INTERVAL_LENGTH} characters."
        )
    if _SECONDS.fullmatch(text) and 0 < int(text) <= MAX_INTERVAL_S:
        return text
    if (" " in text or text.startswith("@")) and croniter.is_valid(text):
        next_run(text, datetime.now(UTC))
        return text
    raise InvalidArgument(
        f"Invalid interval '{text}': it must be a positive number of seconds or cron text such as "
        "'*/5 * * * *'."
    )


def next_run(interval: str, now: datetime) -> datetime:
    """When an audit with this interval is next due after `now`, in UTC.

    InvalidArgument: a date that never comes, such as 30 February.
    """
    if _SECONDS.fullmatch(interval):
        return now + timedelta(seconds=int(interval))
    try:
        due: datetime = croniter(interval, now.astimezone(UTC)).get_next(datetime)
    except (CroniterBadDateError, ValueError, OverflowError):
        raise InvalidArgument(
            f"Invalid interval '{interval}': no time ever matches this cron text. Look at its day "
            "and month."
        ) from None
    return due


def parse_time(text: str) -> datetime:
    """ISO 8601 with T or space as aware UTC; without an offset it is this server's local time."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"Invalid time '{text}': it must be ISO 8601, such as 2026-01-31T08:00:00+00:00."
        ) from None
