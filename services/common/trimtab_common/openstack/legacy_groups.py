"""Groups of older configuration files: `[nova_client]` and its like still count (C-161, C-162).

What such a group says of interface and region goes into the new group of the same service, unless that one
speaks for itself. A version that our clients cannot speak refuses the start. Read in `connect` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from oslo_config import cfg

from trimtab_common.domain.errors import InvalidArgument

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Legacy:
    """group: the new name. version: Watcher's default. floor: the least that works; (3,) any of 3."""

    group: str
    version: str = ""
    floor: tuple[int, ...] = ()


_GROUPS: Mapping[str, _Legacy] = {
    "nova_client": _Legacy("nova", "2.56", (2, 56)),
    "cinder_client": _Legacy("cinder", "3", (3,)),
    "placement_client": _Legacy("placement", "1.29", (1, 29)),
    "ironic_client": _Legacy("ironic", "1", (1,)),
    "keystone_client": _Legacy("keystone"),
}


def register(conf: cfg.ConfigOpts) -> None:
    """Registers the old groups; nothing is set by default."""
    for name, legacy in _GROUPS.items():
        instead = f"Deprecated; say it in [{legacy.group}]"
        interface = "interface" if name == "keystone_client" else "endpoint_type"
        opts = [
            cfg.StrOpt(interface, help=f"{instead} valid_interfaces. publicURL is public."),
            cfg.StrOpt("region_name", help=f"{instead} region_name."),
        ]
        if legacy.version:
            words = f"Deprecated: the version is negotiated; at least {legacy.version}."
            opts.append(cfg.StrOpt("api_version", help=words))
        conf.register_opts(opts, name)


def carry_over(conf: cfg.ConfigOpts, groups: tuple[str, ...]) -> None:
    """Fills these new groups from the old ones. InvalidArgument: a version that is too old or none."""
    register(conf)
    for name, legacy in _GROUPS.items():
        if legacy.group not in groups:
            continue
        old, new = conf[name], conf[legacy.group]
        if legacy.version:
            _check_version(name, old.api_version, legacy)
        interface = old.interface if name == "keystone_client" else old.endpoint_type
        used = []
        if interface and not new.valid_interfaces and not new.interface:
            conf.set_override("valid_interfaces", [interface.removesuffix("URL")], legacy.group)
            used.append("interface")
        if old.region_name and not new.region_name:
            conf.set_override("region_name", old.region_name, legacy.group)
            used.append("region_name")
        if used:
            log.warning("a deprecated group is read", group=name, instead=legacy.group, used=used)


def _check_version(name: str, text: str | None, legacy: _Legacy) -> None:
    if not text:
        return
    try:
        version = tuple(int(part) for part in text.split("."))
    except ValueError:
        raise InvalidArgument(
            f"[{name}] api_version is {text!r}, which is no version; leave it out."
        ) from None
    if version < legacy.floor or version[0] != legacy.floor[0]:
        raise InvalidArgument(
            f"[{name}] api_version is {text}; Trimtab speaks {legacy.version} or newer of this service. "
            "Leave it out."
        )
