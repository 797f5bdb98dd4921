"""The ledger: every write that was tried on the cloud, by whom, and how it ended."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One write."""

    at: float
    request_id: str
    service: str
    method: str
    path: str
    body: Any
    user: str | None
    project: str | None
    status: int
    error: str | None

    def as_json(self) -> dict[str, Any]:
        """For ``GET /control/ledger``."""
        return {
            "at": self.at,
            "request_id": self.request_id,
            "service": self.service,
            "method": self.method,
            "path": self.path,
            "body": self.body,
            "user": self.user,
            "project": self.project,
            "status": self.status,
            "error": self.error,
        }


class Ledger:
    """All writes, oldest first."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Keep one."""
        self.entries.append(entry)

    def writes(self, service: str, path_part: str = "") -> list[Entry]:
        """The writes to one service whose path contains a text."""
        return [e for e in self.entries if e.service == service and path_part in e.path]
