"""How a connection is made: from clouds.yaml by name, or from the operator's oslo.config groups.

Used in each service's `main.py` only (C-160): `[nova]`, `[placement]`... hold keystoneauth options;
a group without auth falls back to `[watcher_clients_auth]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from oslo_config import cfg

from trimtab_common.domain.errors import FailedPrecondition
from trimtab_common.openstack import legacy_groups
from trimtab_common.openstack.timely import make_timely

if TYPE_CHECKING:  # importing the SDK takes a second: done in a thread, at the first call
    from openstack.connection import Connection

AUTH_GROUP = "watcher_clients_auth"
GROUPS = ("nova", "placement", "cinder", "ironic", "keystone")
NOVA_OPTS: Sequence[cfg.Opt] = [
    cfg.IntOpt("http_retries", default=3, min=0, help="Reads tried again when Nova is away."),
    cfg.IntOpt("http_retry_interval", default=2, min=0, help="Seconds between two tries."),
]


def register(conf: cfg.ConfigOpts, groups: Sequence[str] = GROUPS) -> None:
    """Registers keystoneauth's options in these groups and the fall-back group."""
    from keystoneauth1 import loading  # noqa: PLC0415, see above

    for group in (AUTH_GROUP, *groups):
        loading.register_session_conf_options(conf, group)
        loading.register_auth_conf_options(conf, group)
        if group != AUTH_GROUP:
            loading.register_adapter_conf_options(conf, group)


def connector(
    conf: cfg.ConfigOpts, cloud: str | None, groups: Sequence[str] = GROUPS
) -> Callable[[], Connection]:
    """What makes the connection when it is first needed; no network before that.

    FailedPrecondition when neither a cloud's name nor auth options are there; InvalidArgument when an old
    group wants an API version that is too old.
    """
    if cloud:
        return lambda: _from_yaml(cloud)
    register(conf, groups)
    legacy_groups.carry_over(conf, tuple(groups))
    for group in (*groups, AUTH_GROUP):
        if conf[group].auth_type or conf[group].auth_section:
            return lambda: _from_conf(conf, group)
    raise FailedPrecondition(
        "No cloud to work on: name one of clouds.yaml in [trimtab] cloud, or fill "
        f"[{groups[0]}] or [{AUTH_GROUP}] with keystoneauth's options (auth_type, auth_url, ...)."
    )


def _from_yaml(cloud: str) -> Connection:
    import openstack  # noqa: PLC0415, see above

    return _timely(openstack.connect(cloud=cloud, app_name="trimtab"))


def _from_conf(conf: cfg.ConfigOpts, group: str) -> Connection:
    from keystoneauth1 import loading  # noqa: PLC0415, see above
    from openstack.connection import Connection  # noqa: PLC0415, see above

    auth = loading.load_auth_from_conf_options(conf, group)
    session = loading.load_session_from_conf_options(conf, group, auth=auth)
    return _timely(Connection(session=session, oslo_conf=conf, app_name="trimtab"))


def _timely(connection: Connection) -> Connection:
    make_timely(connection.session.session)
    return connection
