"""The recent deltas of a model, encoded once for all watchers; a cursor into it is a watcher's state.

A watcher holds no queue: a slow one costs nothing and is told so when it comes back.
"""

from __future__ import annotations

from dataclasses import dataclass

from trimtab_collector import counters
from trimtab_common.domain.errors import InvalidArgument

_MAX_DIGITS = 18
MAX_ENTRIES = 10_000
MAX_BEHIND = 2_000


@dataclass(frozen=True, slots=True)
class Token:
    """Where a watcher is: after this revision of this epoch."""

    epoch: str
    revision: int

    @classmethod
    def unusable(cls, epoch: str) -> Token:
        """The token inside a snapshot: half of one cannot be resumed."""
        return cls(epoch, 0)

    def __str__(self) -> str:
        return f"{self.epoch}/{self.revision}"

    @classmethod
    def parse(cls, text: str) -> Token:
        """The token of its text. InvalidArgument when it is none of ours."""
        epoch, _, revision = text.rpartition("/")
        if not epoch or not revision.isdecimal() or len(revision) > _MAX_DIGITS:
            raise InvalidArgument(
                f"{text!r} is not a resume token; take one from a message of this stream, or none."
            )
        return cls(epoch, int(revision))


@dataclass(frozen=True, slots=True)
class Entry:
    """One message for all watchers. `data` None: too large for one, take a snapshot instead.

    first, last: the revisions that it holds.
    """

    first: int
    last: int
    data: bytes | None


class DeltaLog:
    """A ring of entries, bounded in number and bytes.

    `max_behind`: deltas that a watcher may fall behind before it counts as too slow; at most half of
    what the ring holds, so that its token is still good when it comes back.
    """

    def __init__(
        self,
        *,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = 64 * 1024 * 1024,
        max_behind: int = MAX_BEHIND,
    ) -> None:
        self._entries: dict[int, Entry] = {}  # by first revision, oldest first, without holes
        self._bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.max_behind = min(max_behind, max(1, max_entries // 2))

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self._bytes = 0

    def append(self, entry: Entry) -> None:
        """Adds the next entry and drops what is beyond the bounds."""
        self._entries[entry.first] = entry
        self._bytes += len(entry.data or b"")
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            dropped = self._entries.pop(next(iter(self._entries)))
            self._bytes -= len(dropped.data or b"")
            counters.FORGOTTEN.inc()

    def next_after(self, revision: int) -> Entry | None:
        """The entry after this revision; None when there is none yet, or no longer."""
        return self._entries.get(revision + 1)
