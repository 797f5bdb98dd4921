"""Times as clients write them (A-053)."""

from __future__ import annotations

from datetime import UTC, datetime

from trimtab_common.domain.errors import InvalidArgument


def parsed(text: str) -> datetime:
    """ISO 8601 with T or space as aware UTC; without an offset it is this server's local time."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"Invalid time '{text}': it must be ISO 8601, such as 2026-01-31T08:00:00+00:00."
        ) from None
