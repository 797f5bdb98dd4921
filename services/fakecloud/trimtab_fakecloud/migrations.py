"""Migration records: Nova's account of each move, live or cold, with its whole life."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class MigrationType(StrEnum):
    """How a server is moved."""

    LIVE = "live-migration"
    COLD = "migration"
    RESIZE = "resize"


class MigrationStatus(StrEnum):
    """Where a move stands."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    ERROR = "error"
    CANCELLED = "cancelled"
    PRE_MIGRATING = "pre-migrating"
    MIGRATING = "migrating"
    POST_MIGRATING = "post-migrating"
    FINISHED = "finished"
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    REVERTING = "reverting"
    REVERTED = "reverted"


LIVE_IN_PROGRESS = frozenset(
    {
        MigrationStatus.QUEUED,
        MigrationStatus.PREPARING,
        MigrationStatus.RUNNING,
        MigrationStatus.POST_MIGRATING,
    }
)


@dataclass(slots=True)
class Migration:
    """One move of one server."""

    number: int
    uuid: str
    type: MigrationType
    server_id: str
    source: str
    destination: str
    """Empty until it is known."""
    status: MigrationStatus
    created_at: float
    updated_at: float
    old_flavor_id: str
    new_flavor_id: str
    user_id: str
    project_id: str
    request_id: str
    history: list[tuple[float, MigrationStatus]] = field(default_factory=list)
    reason: str | None = None
    """Why it ended badly; for the ledger, Nova does not tell."""

    def become(self, status: MigrationStatus, at: float) -> None:
        """Take the next step of its life."""
        self.status = status
        self.updated_at = at
        self.history.append((at, status))

    @property
    def is_live_in_progress(self) -> bool:
        """It is a live migration that can still be watched."""
        return self.type is MigrationType.LIVE and self.status in LIVE_IN_PROGRESS


class Migrations:
    """All moves, oldest first."""

    def __init__(self) -> None:
        self._all: list[Migration] = []
        self._by_server: defaultdict[str, list[Migration]] = defaultdict(list)

    def __iter__(self) -> Iterator[Migration]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def next_number(self) -> int:
        """The id of the next one."""
        return len(self._all) + 1

    def add(self, migration: Migration) -> None:
        """Keep a new one."""
        migration.history.append((migration.created_at, migration.status))
        self._all.append(migration)
        self._by_server[migration.server_id].append(migration)

    def of_server(self, server_id: str) -> Iterable[Migration]:
        """The moves of a server, oldest first."""
        return self._by_server.get(server_id, ())
