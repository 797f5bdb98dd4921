"""Makes the datasources that are configured."""

from __future__ import annotations

from trimtab_collector.datasources import aetos, gnocchi, promql
from trimtab_collector.datasources.catalogue import CatalogueDoor
from trimtab_collector.datasources.grafana import Grafana
from trimtab_collector.datasources.interface import Datasource
from trimtab_collector.datasources.json_http import Door, OpenDoor
from trimtab_collector.datasources.metric_map import overridden
from trimtab_collector.datasources.prometheus import Prometheus
from trimtab_collector.datasources.selection import Datasources
from trimtab_collector.datasources.settings import DatasourceSettings
from trimtab_collector.datasources.static import Static
from trimtab_common.openstack.session import CloudSession
from trimtab_common.runtime.clock import Clock


def build(own: DatasourceSettings, session: CloudSession, clock: Clock) -> Datasources:
    """Those of the order, and those that a strategy may name instead (C-132).

    Nothing is asked before the first query. DatasourceConfigConflict: the order cannot be.
    """
    built: dict[str, Datasource] = {}
    if own.static_path is not None:
        built["static"] = Static(own.static_path)
    if own.gnocchi is not None:
        built["gnocchi"] = gnocchi.Gnocchi(
            own.gnocchi,
            _gnocchi_door(own, session),
            clock,
            overridden(gnocchi.NAMES, own.names.get("gnocchi", {})),
        )
    if own.aetos is not None:
        built["aetos"] = aetos.build(
            session, own.aetos, clock, overridden(promql.NAMES, own.names.get("aetos", {}))
        )
    if own.grafana is not None:
        built["grafana"] = Grafana(own.grafana, clock)
    if own.prometheus is not None:
        names = overridden(promql.NAMES, own.names.get("prometheus", {}))
        built["prometheus"] = Prometheus.direct(own.prometheus, clock, names)
    return Datasources(own.order, built)


def _gnocchi_door(own: DatasourceSettings, session: CloudSession) -> Door:
    if own.gnocchi_url and own.gnocchi is not None and own.gnocchi.username:
        return OpenDoor(own.gnocchi_url)
    return CatalogueDoor(
        session,
        "metric",
        interface=own.gnocchi_interface,
        region_name=own.gnocchi_region,
        url=own.gnocchi_url,
    )
