"""Collector's own settings: Watcher's groups and names where it has them, ours beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oslo_config import cfg

from trimtab_collector import delta_log, refreshes
from trimtab_collector.compute.sync import SyncSettings
from trimtab_collector.datasources import settings as datasource_settings
from trimtab_collector.datasources.settings import DatasourceSettings
from trimtab_collector.notifications import settings as notifications
from trimtab_common.openstack import maas
from trimtab_common.openstack.maas import MaasSettings
from trimtab_common.openstack.session import RetryPolicy
from trimtab_common.runtime.general_pool import DEFAULT_WORKERS

PLUGIN_GROUP = "watcher_cluster_data_model_collectors"
COMPUTE_GROUP = f"{PLUGIN_GROUP}.compute"
GROUPS: Mapping[str, Sequence[cfg.Opt]] = {
    **notifications.GROUPS,
    "collector": [
        *notifications.GROUPS["collector"],
        cfg.IntOpt(
            "api_query_max_retries",
            default=10,
            min=0,
            deprecated_name="api_call_retries",
            help="How often a read of the cloud is tried again while a model is built.",
        ),
        cfg.IntOpt(
            "api_query_interval",
            default=1,
            min=0,
            deprecated_name="api_query_timeout",
            help="Seconds between two tries.",
        ),
        cfg.IntOpt(
            "compute_resources_collector_timeout",
            default=600,
            min=30,
            help="Seconds that each step of building the compute model may take.",
        ),
        cfg.FloatOpt(
            "poll_interval",
            default=2.0,
            min=0.1,
            help="Seconds between two looks at what changed in the cloud.",
        ),
        cfg.FloatOpt(
            "stale_after",
            default=300.0,
            min=0,
            help="Seconds without an answer of the cloud after which the model is called stale.",
        ),
        cfg.ListOpt(
            "collector_plugins",
            default=["compute", "storage"],
            help="Models that this collector holds: compute, storage, baremetal, and outside ones.",
        ),
        cfg.FloatOpt(
            "element_poll_interval",
            default=30.0,
            min=0.1,
            help="Seconds between two reads of the storage and baremetal models; twice as many "
            "while notifications flow.",
        ),
        cfg.StrOpt(
            "load",
            default="all",
            choices=["all", "on_request"],
            help="Read the whole cloud at start; or nothing until an audit or data-model request "
            "asks, and then only the aggregates and zones of its scope.",
        ),
        cfg.FloatOpt(
            "max_stream_age",
            default=3600.0,
            min=1.0,
            help="Seconds after which a model stream ends, so that revoked access does too.",
        ),
        cfg.FloatOpt(
            "refresh_interval",
            default=refreshes.INTERVAL_S,
            min=0,
            help="Seconds after which one more full read may be asked for; a few are allowed at "
            "once. 0: as many as anybody likes.",
        ),
        cfg.IntOpt(
            "delta_log_entries",
            default=delta_log.MAX_ENTRIES,
            min=100,
            help="Batches of changes that are kept for watchers that come back; one that missed "
            "more gets the whole model again.",
        ),
    ],
    COMPUTE_GROUP: [
        cfg.IntOpt("period", default=3600, min=1, help="Seconds between two full reads."),
    ],
    f"{PLUGIN_GROUP}.storage": [
        cfg.IntOpt("period", default=3600, min=1, help="Seconds between two full reads."),
    ],
    f"{PLUGIN_GROUP}.baremetal": [
        cfg.IntOpt("period", default=3600, min=1, help="Seconds between two full reads."),
    ],
    maas.GROUP: maas.OPTS,
    "compute_model": [
        cfg.BoolOpt(
            "enable_extended_attributes",
            default=False,
            help="Keep the pinned zone and the flavor's extra specs of servers.",
        ),
    ],
    **datasource_settings.GROUPS,
    "watcher_decision_engine": [
        cfg.IntOpt(
            "max_general_workers",
            default=DEFAULT_WORKERS,
            min=1,
            help="Threads in which collector waits for the cloud's answers; so many hosts are read at "
            "once while a model is built.",
        ),
        *notifications.GROUPS["watcher_decision_engine"],
        *datasource_settings.GROUPS["watcher_decision_engine"],
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorSettings:
    """What collector needs beside the common settings. None: not configured."""

    sync: SyncSettings
    retry: RetryPolicy
    read_timeout_s: float = 600.0
    general_workers: int = DEFAULT_WORKERS
    extended: bool = False
    load_all: bool = True
    plugins: tuple[str, ...] = ("compute",)
    periods_s: Mapping[str, float] = field(default_factory=dict)
    element_poll_interval_s: float = 30.0
    maas: MaasSettings | None = None
    max_stream_age_s: float = 3600.0
    delta_log_entries: int = delta_log.MAX_ENTRIES
    refresh_interval_s: float = refreshes.INTERVAL_S
    datasources: DatasourceSettings = field(default_factory=DatasourceSettings)
    notifications: notifications.NotificationSettings | None = None

    @classmethod
    def from_conf(
        cls, conf: cfg.ConfigOpts, *, host: str = "localhost", address: str = ""
    ) -> CollectorSettings:
        """Frozen from the parsed files. InvalidArgument for values that cannot be."""
        return cls(
            sync=SyncSettings(
                period_s=conf[COMPUTE_GROUP].period,
                poll_interval_s=conf.collector.poll_interval,
                quiet_poll_interval_s=conf.collector.quiet_poll_interval,
                stale_after_s=conf.collector.stale_after,
            ),
            retry=RetryPolicy(
                retries=conf.collector.api_query_max_retries,
                interval_s=conf.collector.api_query_interval,
            ),
            read_timeout_s=conf.collector.compute_resources_collector_timeout,
            general_workers=conf.watcher_decision_engine.max_general_workers,
            extended=conf.compute_model.enable_extended_attributes,
            plugins=tuple(conf.collector.collector_plugins),
            periods_s={
                name: conf[f"{PLUGIN_GROUP}.{name}"].period for name in ("storage", "baremetal")
            },
            element_poll_interval_s=conf.collector.element_poll_interval,
            maas=MaasSettings.from_conf(conf),
            load_all=conf.collector.load == "all",
            max_stream_age_s=conf.collector.max_stream_age,
            delta_log_entries=conf.collector.delta_log_entries,
            refresh_interval_s=conf.collector.refresh_interval,
            datasources=DatasourceSettings.from_conf(conf),
            notifications=notifications.NotificationSettings.from_conf(
                conf, host=host, address=address
            ),
        )


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """For oslo-config-generator: every option of this service."""
    return list(GROUPS.items())
