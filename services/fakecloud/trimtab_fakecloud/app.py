"""All faces of one cloud as a single ASGI application: each service under its prefix."""

from starlette.types import ASGIApp, Receive, Scope, Send

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.engine import Compute
from trimtab_fakecloud.metrics.series import SeriesStore
from trimtab_fakecloud.rest.answers import answer
from trimtab_fakecloud.rest.cinder import cinder_app
from trimtab_fakecloud.rest.control import control_app
from trimtab_fakecloud.rest.ironic import ironic_app
from trimtab_fakecloud.rest.keystone import keystone_app
from trimtab_fakecloud.rest.nova.app import nova_app
from trimtab_fakecloud.rest.placement import placement_app
from trimtab_fakecloud.rest.prometheus import prometheus_app


def build_app(cloud: Cloud, compute: Compute) -> ASGIApp:
    """The application."""
    prometheus = prometheus_app(cloud, SeriesStore(cloud))
    return _Prefixes(
        {
            "identity": keystone_app(cloud),
            "compute": nova_app(cloud, compute),
            "placement": placement_app(cloud),
            "volume": cinder_app(cloud, compute.volumes),
            "baremetal": ironic_app(cloud, compute.power),
            "prometheus": prometheus,
            "control": control_app(cloud, compute),
        },
        # Prometheus is configured by host and port alone in places: it also answers at the root
        rootless={"api": prometheus, "-": prometheus},
    )


class _Prefixes:
    """Chooses by the first part of the path.

    Not Starlette's Mount, which does not match a prefix without a slash behind it: catalogue
    endpoints have none, and keystoneauth discovers there.
    """

    def __init__(self, services: dict[str, ASGIApp], *, rootless: dict[str, ASGIApp]) -> None:
        self._services = services
        self._rootless = rootless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        name, slash, _ = scope["path"].lstrip("/").partition("/")
        if name in self._rootless:
            await self._rootless[name](scope, receive, send)
            return
        service = self._services.get(name)
        if service is None:
            known = {prefix: f"/{prefix}" for prefix in self._services}
            await answer({"services": known}, 200 if not name else 404)(scope, receive, send)
            return
        path = scope["path"] if slash else f"/{name}/"
        await service({**scope, "root_path": f"/{name}", "path": path}, receive, send)
