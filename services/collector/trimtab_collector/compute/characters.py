"""Looks at the workload characters that servers carry in their metadata (B-324).

Called when the compute model changes, by reads and notifications alike. The model keeps the metadata;
a text that is no character is logged once for its server, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from trimtab_common.domain.changes import RemoveServer, UpsertServer
from trimtab_common.domain.workloads import CharacterRefused
from trimtab_common.rules import workload_grammar

log = structlog.get_logger(__name__)


class Characters:
    """Remembers which text of which server was found wrong."""

    def __init__(self) -> None:
        self._wrong: dict[str, str] = {}

    def look(self, changes: Iterable[Any]) -> None:
        """Logs every text among the changes that is newly wrong."""
        for change in changes:
            if isinstance(change, UpsertServer):
                row = change.row
                text = workload_grammar.text_in(row.metadata) if row.metadata else ""
                self._judge(row.uuid, text)
            elif isinstance(change, RemoveServer):
                self._wrong.pop(change.uuid, None)

    def _judge(self, uuid: str, text: str) -> None:
        if not text:
            self._wrong.pop(uuid, None)
            return
        found = workload_grammar.cached(text)
        if not isinstance(found, CharacterRefused):
            self._wrong.pop(uuid, None)
        elif self._wrong.get(uuid) != text:
            self._wrong[uuid] = text
            log.warning(
                "the workload character of a server is passed over",
                server=uuid,
                problem=found.message,
            )
