"""The operator's file of metric names: per datasource, Watcher's metric to the backend's (C-138..C-141).

YAML, either form:

    gnocchi:
      instance_cpu_usage: cpu_vm
    prometheus:
      - host_power: node_hwmon_power_average_watt

Only what is listed is overridden; null takes a metric away. A file that cannot be used is a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
import yaml

from trimtab_collector.datasources.interface import METRICS

log = structlog.get_logger(__name__)
DATASOURCES = frozenset({"gnocchi", "grafana", "aetos", "prometheus", "static"})
Names = Mapping[str, Any]
"""Watcher's metric: the backend's name, or for grafana an object; None: not there."""


def read(path: Path | None) -> dict[str, Names]:
    """Overrides by datasource; empty when there is no such file or it is not one."""
    if path is None or not path.exists():
        return {}
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        log.warning("the metric map cannot be read", path=str(path), problem=str(error))
        return {}
    if document is None:
        return {}
    if not isinstance(document, dict):
        log.warning("the metric map is no mapping of datasources", path=str(path))
        return {}
    found: dict[str, Names] = {}
    for datasource, rows in document.items():
        if datasource not in DATASOURCES:
            log.warning("the metric map names an unknown datasource", datasource=datasource)
        elif (names := _names(rows)) is None:
            log.warning("the metric map is no mapping of metrics", datasource=datasource)
        else:
            found[datasource] = names
    return found


def overridden(names: Mapping[str, str], override: Names) -> dict[str, str]:
    """The names of one datasource; neither argument is changed (C-141)."""
    merged: dict[str, str] = dict(names)
    for metric, name in override.items():
        if name is None:
            merged.pop(metric, None)
        elif isinstance(name, str) and name:
            merged[metric] = name
        else:
            log.warning("a metric's name must be a text", metric=metric, name=name)
    return merged


def _names(rows: Any) -> dict[str, Any] | None:
    if rows is None:
        return {}
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        rows = {metric: name for row in rows for metric, name in row.items()}
    if not isinstance(rows, dict):
        return None
    for metric in sorted(set(map(str, rows)) - METRICS):
        log.warning("the metric map names an unknown metric", metric=metric)
    return {metric: name for metric, name in rows.items() if metric in METRICS}
