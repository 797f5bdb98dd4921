"""When an audit is due: pure rules over its record and the time.

The record is the schedule. `next_run_time` of a CONTINUOUS audit says when it runs next. Of an
EVENT audit it is set by a call of its webhook and cleared at the end of the run: a wake-up that
gets lost loses nothing, and one that is forged starts nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from trimtab_common.domain.lifecycle import AuditState, AuditType
from trimtab_common.domain.records import Audit
from trimtab_common.rules import intervals

_READY = {
    AuditType.ONESHOT: frozenset({AuditState.PENDING}),
    AuditType.EVENT: frozenset({AuditState.PENDING, AuditState.SUCCEEDED}),
    AuditType.CONTINUOUS: frozenset({AuditState.PENDING, AuditState.ONGOING}),
}


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
    return (
        start
        if intervals.seconds_of(audit.interval)
        else intervals.following(audit.interval, start)
    )


def next_run(audit: Audit, now: datetime) -> datetime:
    """When it runs after this run; the grid of an interval survives downtime (A-090).

    Example: due 7:30, back at 9:00, every 3600 s: next is 9:30.
    """
    seconds = intervals.seconds_of(audit.interval)
    if seconds is None or audit.next_run_time is None or audit.next_run_time > now:
        return intervals.following(audit.interval, now)
    late_s = (now - audit.next_run_time).total_seconds()
    return now + timedelta(seconds=seconds - late_s % seconds)
