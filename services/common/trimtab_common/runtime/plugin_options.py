"""Options that plug-ins declare: registered under `<namespace>.<plug-in>`, values handed to them (A-107).

A plug-in's class has `get_config_opts()`, a list of oslo.config options; without it there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oslo_config import cfg


def options_of(plugin: object) -> Sequence[cfg.Opt]:
    """What the plug-in's class declares; [] by default."""
    declare = getattr(plugin, "get_config_opts", None)
    return list(declare()) if declare is not None else []


def groups_of(namespace: str, plugins: Mapping[str, object]) -> Mapping[str, Sequence[cfg.Opt]]:
    """Group name -> options, of the plug-ins that declare any."""
    declared = {f"{namespace}.{name}": options_of(plugin) for name, plugin in plugins.items()}
    return {group: options for group, options in declared.items() if options}


def values_of(conf: cfg.ConfigOpts, group: str, options: Iterable[cfg.Opt]) -> Mapping[str, Any]:
    """The operator's values of these options, by name."""
    return {option.dest: conf[group][option.dest] for option in options}


def merged(*parts: Mapping[str, Sequence[cfg.Opt]]) -> dict[str, list[cfg.Opt]]:
    """All groups of all parts; options of the same group side by side."""
    found: dict[str, list[cfg.Opt]] = {}
    for part in parts:
        for group, options in part.items():
            found.setdefault(group, []).extend(options)
    return found
