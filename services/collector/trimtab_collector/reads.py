"""What a model's reader gives to its sync loop, whichever model it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from trimtab_common.domain.changes import SetHealth


class FullRead(Protocol):
    """All that there is, not yet in the model."""

    @property
    def health(self) -> SetHealth:
        """What is missing."""
        ...

    @property
    def since(self) -> datetime:
        """From when on events are newer than this, and the next incremental read must start."""
        ...

    def changes_to(self, model: Any) -> Sequence[Any]:
        """What makes the model equal to this."""
        ...

    def keys(self) -> set[str]:
        """The keys of all elements, as rules of notifications name them."""
        ...

    def rows(self) -> Rows:
        """The content, to replay events on."""
        ...


class Rows(Protocol):
    """The rows of a full read, which handlers look at and change like a model."""

    def apply(self, changes: Sequence[Any]) -> None:
        """Takes over changes."""
        ...

    def read(self) -> Any:
        """A full read of the rows as they are now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalRead:
    """What changed. `since`: from when the next one must start."""

    changes: Sequence[Any]
    since: datetime
