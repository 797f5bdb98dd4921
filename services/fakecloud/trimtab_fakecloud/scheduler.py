"""Chooses hosts as Nova's scheduler would: enabled, up, room in Placement, then most free memory."""

from collections.abc import Callable, Collection

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.errors import NoValidHost
from trimtab_fakecloud.hosts import MEMORY_MB, Host, Resources


def select_host(
    cloud: Cloud,
    wanted: Resources,
    *,
    ignore: Collection[str] = (),
    only: str | None = None,
    zone: str | None = None,
    allowed: Callable[[Host], bool] = lambda _host: True,
) -> Host:
    """The host for so much.

    Args:
        cloud: where to look.
        wanted: what must fit.
        ignore: hosts not to take.
        only: the one host to consider, through the same filters.
        zone: the availability zone to stay in; None for any.
        allowed: what the policy of the server's group says.

    Raises:
        NoValidHost: none passes.
    """
    candidates = [
        host
        for host in ([cloud.host(only)] if only else cloud.hosts.values())
        if host.name not in ignore
        and not host.disabled
        and host.state == "up"
        and cloud.allocations.fits(host, wanted)
        and (zone is None or cloud.zone_of(host.name) == zone)
        and allowed(host)
    ]
    if not candidates:
        raise NoValidHost("No valid host was found. There are not enough hosts available.")
    return max(candidates, key=lambda h: (cloud.allocations.free(h, MEMORY_MB), h.name))
