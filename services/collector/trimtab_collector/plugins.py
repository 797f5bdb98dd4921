"""The models that this collector holds: ours in one list, outside ones by entry point.

A plug-in makes a running model from the collector's context: a reader of the cloud, the live model, a
table of notifications and the schema of its audit scope (C-002). Outside ones are found by the entry
point `watcher_cluster_data_model_collectors`; what it names is called and gives a `ModelPlugin`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

import structlog

from trimtab_collector.baremetal.ironic_events import IRONIC
from trimtab_collector.baremetal.reading import BaremetalReader
from trimtab_collector.compute.sync import ComputeSync, Source, SyncSettings
from trimtab_collector.live_model import LiveContent, LiveElements
from trimtab_collector.notifications import guests
from trimtab_collector.notifications.inbox import Inbox
from trimtab_collector.notifications.outcome import Dialect
from trimtab_collector.notifications.rereads import ElementSource, Rereads
from trimtab_collector.servicer import Served
from trimtab_collector.storage import cinder_events
from trimtab_collector.storage.reading import StorageReader
from trimtab_common.domain.element_scope import BAREMETAL_SCOPE_SCHEMA, STORAGE_SCOPE_SCHEMA
from trimtab_common.domain.errors import InvalidArgument, TrimtabError
from trimtab_common.domain.storage import POOL
from trimtab_common.openstack.cinder import Cinder
from trimtab_common.openstack.ironic import Ironic
from trimtab_common.openstack.keystone import Keystone
from trimtab_common.openstack.maas import Maas, MaasSettings
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.session import CloudSession
from trimtab_common.runtime.clock import Clock
from trimtab_common.runtime.general_pool import GeneralPool

log = structlog.get_logger(__name__)
ENTRY_POINT = "watcher_cluster_data_model_collectors"
_STORAGE_TYPES = ("block-storage", "volumev3")


class ElementReaders(Source, ElementSource, Protocol):
    """Reads all of a model, or single elements of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a plug-in may use. period_s: between two full reads, by name of the model.

    pool: where blocking calls are made, beside those of the session.
    """

    session: CloudSession
    pool: GeneralPool
    clock: Clock
    periods_s: Mapping[str, float]
    poll_interval_s: float = 30.0
    read_timeout_s: float = 600.0
    maas: MaasSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningModel:
    """A model with what keeps it equal to the cloud; nothing runs yet.

    wanted: asked once before the first read; False leaves the model out (C-003).
    """

    live: LiveContent[Any]
    sync: ComputeSync
    inbox: Inbox
    rereads: Rereads
    served: Served
    wanted: Callable[[], Any] | None = None


class ModelPlugin(Protocol):
    """One model: its name, and how it is made."""

    name: str

    def build(self, context: Context) -> RunningModel:
        """The model, not running."""
        ...


def elements(
    kind: str,
    context: Context,
    reader: ElementReaders,
    dialect: Dialect,
    scope_schema: Mapping[str, Any],
    *,
    named: str = "",
    wanted: Callable[[], Any] | None = None,
) -> RunningModel:
    """A running model of elements around a reader and a table of events."""
    live = LiveElements(kind, context.clock, named=named)
    inbox = Inbox(live, context.clock, dialect=guests.joined(dialect, kind))
    settings = SyncSettings(
        period_s=context.periods_s.get(kind, 3600.0),
        poll_interval_s=context.poll_interval_s,
        quiet_poll_interval_s=context.poll_interval_s * 2,
    )
    sync = ComputeSync(live, reader, context.clock, settings, inbox)
    return RunningModel(
        live=live,
        sync=sync,
        inbox=inbox,
        rereads=Rereads(live, reader, inbox, context.clock),
        served=Served(
            live=live,
            refresh=sync.refresh,
            reread=lambda uuids: inbox.wanted.add(uuids, ()),
            scope_schema=scope_schema,
        ),
        wanted=wanted,
    )


class StoragePlugin:
    """Cinder's nodes, pools and volumes."""

    name = "storage"

    def build(self, context: Context) -> RunningModel:
        """The model, not running; left out where Keystone has no block storage (C-003)."""
        reader = StorageReader(Cinder(context.session), timeout_s=context.read_timeout_s)
        keystone = Keystone(context.session)

        async def wanted() -> bool:
            try:
                enabled = [await keystone.is_service_enabled(kind) for kind in _STORAGE_TYPES]
            except TrimtabError as error:
                log.warning("cannot ask Keystone for block storage", problem=error.message)
                return True
            if not any(enabled):
                log.warning("no storage model: Keystone has no enabled service of block storage")
            return any(enabled)

        return elements(
            self.name,
            context,
            reader,
            cinder_events.dialect(reader.type_names),
            STORAGE_SCOPE_SCHEMA,
            named=POOL,
            wanted=wanted,
        )


class BaremetalPlugin:
    """Machines of Ironic, or of MaaS where its URL is configured."""

    name = "baremetal"

    def build(self, context: Context) -> RunningModel:
        """The model, not running."""
        source = (
            Ironic(context.session)
            if context.maas is None
            else Maas(context.maas, Nova(context.session))
        )
        reader = BaremetalReader(source, timeout_s=context.read_timeout_s)
        return elements(self.name, context, reader, IRONIC, BAREMETAL_SCOPE_SCHEMA)


def chosen(names: tuple[str, ...]) -> list[ModelPlugin]:
    """The plug-ins of these names, without compute. InvalidArgument for one that is not there."""
    known: dict[str, Callable[[], ModelPlugin]] = {
        found.name: found.load() for found in entry_points(group=ENTRY_POINT)
    }
    known |= {StoragePlugin.name: StoragePlugin, BaremetalPlugin.name: BaremetalPlugin}
    missing = [name for name in names if name != "compute" and name not in known]
    if missing:
        raise InvalidArgument(
            f"[collector] collector_plugins names {', '.join(missing)}; there are compute, "
            f"{', '.join(sorted(known))}."
        )
    return [known[name]() for name in names if name != "compute"]
