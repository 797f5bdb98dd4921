"""Services by their heartbeats: ACTIVE or FAILED is computed at reading (A-043)."""

from __future__ import annotations

from datetime import datetime

from trimtab_common.domain.records import Service

ACTIVE, FAILED = "ACTIVE", "FAILED"


def status(service: Service, *, now: datetime, down_time_s: float) -> str:
    """ACTIVE while the last sign of life is at most `down_time_s` away from `now`."""
    seen = service.last_seen_up or service.updated_at or service.created_at
    if seen is None or abs((now - seen).total_seconds()) > down_time_s:
        return FAILED
    return ACTIVE
