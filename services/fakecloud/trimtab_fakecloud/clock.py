"""The cloud's time: everything the fake cloud dates or waits for goes through here.

Wall time is read once and then follows the event loop's clock, so that a test can give the
cloud a clock that it moves by hand.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long by this clock."""
        ...


class LoopClock:
    """Follows the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._offset = time.time() - self._loop.time()

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._offset + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)


def utc(at: float) -> datetime:
    """The moment as an aware datetime."""
    return datetime.fromtimestamp(at, UTC)


def iso_z(at: float) -> str:
    """As Nova writes a server's times: whole seconds and a Z."""
    return utc(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_micro(at: float | None) -> str | None:
    """As Nova writes a database row's times: no zone; its databases keep whole seconds."""
    return None if at is None else utc(at).strftime("%Y-%m-%dT%H:%M:%S.000000")


def parse_iso(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time; without a zone it is UTC.

    Raises:
        ValueError: the text is no such time.
    """
    # a "+" that was not percent-encoded arrives as a space
    at = datetime.fromisoformat(text.strip().replace(" ", "+", 1) if " " in text[10:] else text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
