"""A service is ACTIVE by its last sign of life, whichever there is (A-043)."""

from datetime import UTC, datetime, timedelta

import pytest

from trimtab_common.domain.records import Service
from trimtab_common.domain.services import status

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


def ago(seconds):
    return None if seconds is None else NOW - timedelta(seconds=seconds)


@pytest.mark.req("A-043")
@pytest.mark.parametrize(
    ("seen", "updated", "created", "expected"),
    [
        (90, None, None, "ACTIVE"),
        (91, 1, 1, "FAILED"),
        (-90, None, None, "ACTIVE"),
        (-91, None, None, "FAILED"),
        (None, 90, 500, "ACTIVE"),
        (None, 91, 1, "FAILED"),
        (None, None, 90, "ACTIVE"),
        (None, None, 91, "FAILED"),
        (None, None, None, "FAILED"),
    ],
)
def test_status(seen, updated, created, expected):
    service = Service(
        name="watcher-applier",
        host="h",
        last_seen_up=ago(seen),
        updated_at=ago(updated),
        created_at=ago(created),
    )
    assert status(service, now=NOW, down_time_s=90) == expected
