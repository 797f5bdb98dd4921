"""When an audit is due: pure rules over its record and the time.

The record is the schedule. `next_run_time` of a CONTINUOUS audit says when it runs next. Of an
EVENT audit it is set by a call of its webhook and cleared at the end of the run: a wake-up that
gets lost loses nothing, and one that is forged starts nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from croniter import CroniterBadDateError, croniter

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.lifecycle import AuditState, AuditType
from trimtab_common.domain.records import Audit

_READY = {
    AuditType.ONESHOT: frozenset({AuditState.PENDING}),
    AuditType.EVENT: frozenset({AuditState.PENDING, AuditState.SUCCEEDED}),
    AuditType.CONTINUOUS: frozenset({AuditState.PENDING, AuditState.ONGOING}),
}


class IntervalRefused(InvalidArgument):
    """The interval is neither seconds nor a cron expression, or names a time that never comes."""

    reason = "INTERVAL_REFUSED"


def is_due(audit: Audit, now: datetime) -> bool:
    """Whether the record asks for a run now (A-057, A-074, A-089, A-091, A-092)."""
    if audit.state not in _READY[audit.audit_type]:
        return False
    if audit.audit_type is AuditType.ONESHOT:
        return True
    if audit.next_run_time is None or audit.next_run_time > now:
        return False
    return audit.start_time is None or now >= audit.start_time


def is_over(audit: Audit, now: datetime) -> bool:
    """Whether the window of an audit has passed."""
    return audit.end_time is not None and now > audit.end_time


def first_run(audit: Audit, now: datetime) -> datetime:
    """When a CONTINUOUS audit that never ran does: at once, or at its next cron time (A-089)."""
    start = now if audit.start_time is None else max(now, audit.start_time)
    return start if interval_s(audit.interval) else _next_cron(str(audit.interval), start)


def next_run(audit: Audit, now: datetime) -> datetime:
    """When it runs after this run; the grid of an interval survives downtime (A-090).

    Example: due 7:30, back at 9:00, every 3600 s: next is 9:30.
    """
    seconds = interval_s(audit.interval)
    if seconds is None:
        return _next_cron(str(audit.interval), now)
    if audit.next_run_time is None or audit.next_run_time > now:
        return now + timedelta(seconds=seconds)
    late_s = (now - audit.next_run_time).total_seconds()
    return now + timedelta(seconds=seconds - late_s % seconds)


def interval_s(interval: str | None) -> float | None:
    """The seconds of an interval; None when it is a cron expression. IntervalRefused for others."""
    text = (interval or "").strip()
    if text.isdecimal() and int(text) > 0:
        return float(text)
    if not croniter.is_valid(text):
        raise IntervalRefused(
            f"Interval {interval!r} is neither a number of seconds above 0 nor a cron expression."
        )
    return None


def _next_cron(expression: str, after: datetime) -> datetime:
    try:
        following: datetime = croniter(expression, after.astimezone(UTC)).get_next(datetime)
    except (CroniterBadDateError, ValueError, OverflowError):
        raise IntervalRefused(
            f"Interval {expression!r} matches no time after {after:%Y-%m-%d %H:%M}. Give the audit "
            "another interval or start time."
        ) from None
    return following
