"""Collector's own settings: Watcher's groups and names where it has them, ours beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from trimtab_collector.compute.sync import SyncSettings
from trimtab_collector.datasources.prometheus import PrometheusSettings
from trimtab_collector.notifications import settings as notifications
from trimtab_common.openstack.session import RetryPolicy

COMPUTE_GROUP = "watcher_cluster_data_model_collectors.compute"
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
        cfg.FloatOpt(
            "max_stream_age",
            default=3600.0,
            min=1.0,
            help="Seconds after which a model stream ends, so that revoked access does too.",
        ),
    ],
    COMPUTE_GROUP: [
        cfg.IntOpt("period", default=3600, min=1, help="Seconds between two full reads."),
    ],
    "compute_model": [
        cfg.BoolOpt(
            "enable_extended_attributes",
            default=False,
            help="Keep the pinned zone and the flavor's extra specs of servers.",
        ),
    ],
    "watcher_datasources": [
        cfg.ListOpt(
            "datasources",
            help="Datasources in order of preference. Default: those that are configured, "
            "static before prometheus.",
        ),
        cfg.IntOpt("query_max_retries", default=10, min=0, help="Tries after the first one."),
        cfg.IntOpt("query_interval", default=1, min=0, help="Seconds between two tries."),
    ],
    "prometheus_client": [
        cfg.StrOpt("host", help="Where Prometheus is; unset: there is none."),
        cfg.PortOpt("port", default=9090),
        cfg.StrOpt("fqdn_label", default="fqdn", help="Label that names a host."),
        cfg.StrOpt("instance_uuid_label", default="resource", help="Label that names a server."),
        cfg.StrOpt("username"),
        cfg.StrOpt("password", secret=True),
        cfg.StrOpt("cafile", help="Authority of its certificate; makes the connection https."),
        cfg.StrOpt("certfile", help="Own certificate; needs cafile."),
        cfg.StrOpt("keyfile", help="Key of the own certificate."),
    ],
    "static_datasource": [
        cfg.StrOpt("path", help="JSON file of values; unset: there is none."),
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorSettings:
    """What collector needs beside the common settings. None: not configured."""

    sync: SyncSettings
    retry: RetryPolicy
    read_timeout_s: float = 600.0
    extended: bool = False
    max_stream_age_s: float = 3600.0
    datasources: tuple[str, ...] = ()
    prometheus: PrometheusSettings | None = None
    static_path: Path | None = None
    notifications: notifications.NotificationSettings | None = None

    @classmethod
    def from_conf(
        cls, conf: cfg.ConfigOpts, *, host: str = "localhost", address: str = ""
    ) -> CollectorSettings:
        """Frozen from the parsed files. InvalidArgument for values that cannot be."""
        metrics, prometheus = conf.watcher_datasources, _prometheus(conf)
        static = conf.static_datasource.path
        configured = (["static"] if static else []) + (["prometheus"] if prometheus else [])
        order = configured if metrics.datasources is None else metrics.datasources
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
            extended=conf.compute_model.enable_extended_attributes,
            max_stream_age_s=conf.collector.max_stream_age,
            datasources=tuple(order),
            prometheus=prometheus,
            static_path=Path(static) if static else None,
            notifications=notifications.NotificationSettings.from_conf(
                conf, host=host, address=address
            ),
        )


def _prometheus(conf: cfg.ConfigOpts) -> PrometheusSettings | None:
    section = conf.prometheus_client
    if not section.host:
        return None
    return PrometheusSettings(
        host=section.host,
        port=section.port,
        fqdn_label=section.fqdn_label,
        instance_uuid_label=section.instance_uuid_label,
        username=section.username,
        password=section.password,
        cafile=section.cafile,
        certfile=section.certfile,
        keyfile=section.keyfile,
        max_retries=conf.watcher_datasources.query_max_retries,
        retry_interval_s=conf.watcher_datasources.query_interval,
    )
