"""All that was read of the compute model, not yet in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab_collector.compute.replayed import GROUP, HOST, ComputeRows
from trimtab_common.domain.changes import Change, HostRow, ServerRow, SetHealth
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.compute_terms import Aggregate, ServerGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class FullRead:
    """All that is loaded. `since`: from when the next incremental read must start.

    groups: None when Nova does not show them.
    """

    hosts: Sequence[HostRow]
    servers: Sequence[ServerRow]
    aggregates: tuple[Aggregate, ...]
    health: SetHealth
    since: datetime
    groups: Sequence[ServerGroup] | None = None

    def changes_to(self, model: ComputeModel) -> list[Change]:
        """What makes the model equal to this."""
        return model.changes_to(self.hosts, self.servers, self.aggregates, self.health, self.groups)

    def keys(self) -> set[str]:
        """Of servers their uuid, of hosts and groups what `replayed.key_of` says."""
        keys = {HOST + row.hostname for row in self.hosts}
        keys |= {row.uuid for row in self.servers}
        return keys | {GROUP + row.uuid for row in self.groups or ()}

    def rows(self) -> ComputeRows:
        """The content, to replay events on."""
        return ComputeRows(
            self.hosts,
            self.servers,
            self.aggregates,
            self.groups,
            lambda rows: dataclasses.replace(
                self,
                hosts=list(rows.hosts.values()),
                servers=list(rows.servers.values()),
                aggregates=rows.aggregates,
                groups=None if self.groups is None else list(rows.groups.values()),
            ),
        )
