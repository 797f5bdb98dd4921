"""Reads more of the cloud when a request needs it, and no more than is missing (C-045..C-047)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from trimtab_collector.compute.loading import Loaded, LoadScope
from trimtab_collector.compute.sync import ComputeSync
from trimtab_collector.live_model import Delta, LiveModel
from trimtab_collector.notifications.inbox import Inbox
from trimtab_common.domain.changes import Change
from trimtab_common.domain.compute import ComputeModel


class PartSource(Protocol):
    """Reads parts of the cloud: `ComputeReader`, or a fake."""

    loaded: Loaded
    """Which part it reads now."""

    async def hosts_of(self, scope: LoadScope) -> frozenset[str]:
        """Names of the hosts in a scope."""
        ...

    async def read_hosts(self, model: ComputeModel, names: Collection[str]) -> list[Change]:
        """These hosts with what is on them."""
        ...


class Loader:
    """Serves requests; the sync loop does whole reads for it."""

    def __init__(
        self, live: LiveModel, source: PartSource, sync: ComputeSync, inbox: Inbox
    ) -> None:
        self._live = live
        self._source = source
        self._sync = sync
        self._inbox = inbox

    async def load(self, scope: LoadScope) -> None:
        """Returns when the model holds all hosts of this scope; raises the error of the read.

        No model: reads all, or what is in the scope. A model: all only if something is missing, and
        of a scope only the hosts that are missing; nothing is ever dropped.
        """
        loaded, built = self._source.loaded, self._live.built
        if built and loaded.hosts is None:
            return
        if built and not scope.is_everything:
            await self._load_missing(scope)
            return
        loaded.want(scope)
        await self._sync.refresh()

    async def _load_missing(self, scope: LoadScope) -> None:
        loaded, model = self._source.loaded, self._live.model
        async with self._sync.one_at_a_time:
            before = loaded.hosts
            if before is None:
                return
            missing = await self._source.hosts_of(scope) - before
            if not missing:
                return
            loaded.hosts = before | missing  # events of these hosts count from now on
            try:
                with self._inbox.reading() as reading:
                    read = await self._source.read_hosts(model, missing)
                    changes = self._inbox.current(reading, read)
            except BaseException:
                loaded.hosts = before
                raise
            loaded.want(scope)
            loaded.brought(loaded.hosts)
            self._live.publish([Delta(changes=changes, cause="load")])
            self._inbox.listed(changes)
            self._live.observe()
