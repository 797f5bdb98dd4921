"""Settings of the datasources: Watcher's groups and names, ours beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oslo_config import cfg

from trimtab_collector.datasources import metric_map, selection
from trimtab_collector.datasources.aetos import AetosSettings
from trimtab_collector.datasources.gnocchi import GnocchiSettings
from trimtab_collector.datasources.grafana import GrafanaSettings
from trimtab_collector.datasources.prometheus import PrometheusSettings
from trimtab_collector.datasources.retrying import Tries
from trimtab_collector.datasources.translators import DEFAULT_RETENTION_PERIODS
from trimtab_common.domain.errors import InvalidArgument

_GRAFANA_MAPS = {
    "project": "project_id_map",
    "db": "database_map",
    "attribute": "attribute_map",
    "translator": "translator_map",
    "query": "query_map",
}
_INTERFACE_HELP = "public, internal or admin, with or without URL behind it."
_LABEL_OPTS = [
    cfg.StrOpt("fqdn_label", default="fqdn", help="Label that names a host."),
    cfg.StrOpt("instance_uuid_label", default="resource", help="Label that names a server."),
]
GROUPS: Mapping[str, Sequence[cfg.Opt]] = {
    "watcher_datasources": [
        cfg.ListOpt(
            "datasources",
            help="Datasources in order of preference: gnocchi, grafana, aetos, prometheus, static. "
            "Default: those of static, grafana and prometheus that are configured.",
        ),
        cfg.IntOpt("query_max_retries", default=10, min=0, help="Tries after the first one."),
        cfg.IntOpt("query_interval", default=1, min=0, help="Seconds between two tries."),
    ],
    "watcher_decision_engine": [
        cfg.StrOpt(
            "metric_map_path",
            default="/etc/watcher/metric_map.yaml",
            help="YAML file, per datasource Watcher's metric: the backend's. Read by collector.",
        ),
    ],
    "gnocchi_client": [
        cfg.StrOpt("api_version", default="1", help="Only 1 is known."),
        cfg.StrOpt("endpoint_type", default="public", help=_INTERFACE_HELP),
        cfg.StrOpt("region_name", help="Region of the catalogue."),
        cfg.StrOpt("endpoint_override", help="URL, instead of the catalogue's."),
        cfg.StrOpt("username", help="For a Gnocchi with auth_mode basic; else Keystone's token."),
        cfg.StrOpt("password", secret=True),
    ],
    "aetos_client": [
        cfg.StrOpt("interface", default="public", help=_INTERFACE_HELP),
        cfg.StrOpt("region_name", help="Region of the catalogue."),
        *_LABEL_OPTS,
    ],
    "grafana_client": [
        cfg.StrOpt("token", secret=True, help="Sent as Bearer."),
        cfg.StrOpt("base_url", help="The proxy's URL, before the project's id."),
        cfg.DictOpt("project_id_map", default={}, help="Metric: id of Grafana's datasource."),
        cfg.DictOpt("database_map", default={}, help="Metric: database."),
        cfg.DictOpt("attribute_map", default={}, help="Metric: hostname, uuid or name."),
        cfg.DictOpt("translator_map", default={}, help="Metric: influxdb."),
        cfg.DictOpt("query_map", default={}, help="Metric: query with {0} to {4}."),
        cfg.IntOpt("http_timeout", default=60, min=0, help="Seconds that an answer may take."),
    ],
    "grafana_translators": [
        cfg.DictOpt(
            "retention_periods",
            default={name: str(kept) for name, kept in DEFAULT_RETENTION_PERIODS.items()},
            help="InfluxDB's retention policies: seconds.",
        ),
    ],
    "prometheus_client": [
        cfg.StrOpt("host", help="Where Prometheus is; unset: there is none."),
        cfg.PortOpt("port", default=9090),
        *_LABEL_OPTS,
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


class MissingParameter(InvalidArgument):
    """A datasource is named and what it needs is not set (C-152)."""

    reason = "MISSING_PARAMETER"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasourceSettings:
    """Which datasources, in which order. None: not configured. `names`: the metric map."""

    order: tuple[str, ...] = ()
    gnocchi: GnocchiSettings | None = None
    gnocchi_url: str | None = None
    gnocchi_interface: str = "public"
    gnocchi_region: str | None = None
    aetos: AetosSettings | None = None
    grafana: GrafanaSettings | None = None
    prometheus: PrometheusSettings | None = None
    static_path: Path | None = None
    names: Mapping[str, metric_map.Names] = field(default_factory=dict)

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> DatasourceSettings:
        """Frozen from the parsed files.

        MissingParameter: prometheus is named without a host. DatasourceConfigConflict: it is named
        with aetos. InvalidArgument: values that cannot be.
        """
        section = conf.watcher_datasources
        tries = Tries(
            max_retries=section.query_max_retries, interval_s=float(section.query_interval)
        )
        names = metric_map.read(Path(conf.watcher_decision_engine.metric_map_path))
        grafana = _grafana(conf, names.get("grafana", {}), tries)
        prometheus = _prometheus(conf, tries)
        static = conf.static_datasource.path
        configured = {"static": static, "grafana": grafana, "prometheus": prometheus}
        order = section.datasources
        if order is None:
            order = [name for name, what in configured.items() if what]
        elif "prometheus" in order and prometheus is None:
            raise MissingParameter("[prometheus_client] host is required by the datasource.")
        selection.check(order)
        gnocchi = conf.gnocchi_client
        return cls(
            order=tuple(order),
            gnocchi=GnocchiSettings(
                username=gnocchi.username, password=gnocchi.password, tries=tries
            ),
            gnocchi_url=gnocchi.endpoint_override,
            gnocchi_interface=gnocchi.endpoint_type.removesuffix("URL"),
            gnocchi_region=gnocchi.region_name,
            aetos=AetosSettings(
                interface=conf.aetos_client.interface.removesuffix("URL"),
                region_name=conf.aetos_client.region_name,
                fqdn_label=conf.aetos_client.fqdn_label,
                instance_uuid_label=conf.aetos_client.instance_uuid_label,
                tries=tries,
            ),
            grafana=grafana,
            prometheus=prometheus,
            static_path=Path(static) if static else None,
            names=names,
        )


def _prometheus(conf: cfg.ConfigOpts, tries: Tries) -> PrometheusSettings | None:
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
        max_retries=tries.max_retries,
        retry_interval_s=tries.interval_s,
    )


def _grafana(
    conf: cfg.ConfigOpts, override: metric_map.Names, tries: Tries
) -> GrafanaSettings | None:
    """None without a token or URL: it is then never chosen (C-155)."""
    section = conf.grafana_client
    if not (section.token and section.base_url):
        return None
    maps: dict[str, dict[str, Any]] = {}
    for part, option in _GRAFANA_MAPS.items():
        for metric, value in section[option].items():
            maps.setdefault(metric, {})[part] = value
    for metric, row in override.items():  # the file wins (C-140)
        if row is None:
            maps.pop(metric, None)
        elif isinstance(row, Mapping):
            maps[metric] = {part: str(value) for part, value in row.items()}
    try:
        retention = {
            name: int(kept) for name, kept in conf.grafana_translators.retention_periods.items()
        }
    except ValueError as error:
        raise InvalidArgument(f"[grafana_translators] retention_periods: {error}.") from None
    return GrafanaSettings(
        base_url=section.base_url,
        token=section.token,
        maps=maps,
        retention_periods=retention,
        timeout_s=float(section.http_timeout) or 60.0,
        tries=tries,
    )
