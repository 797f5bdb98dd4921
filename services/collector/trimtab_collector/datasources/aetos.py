"""Aetos: Prometheus behind Keystone, through python-observabilityclient (C-153, ADR 0017).

The client finds the endpoint in the catalogue and sends a token with each request; here are its
time limits, its errors as ours, and the requests that it has no method for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trimtab_collector.datasources import promql
from trimtab_collector.datasources.prometheus import Prometheus
from trimtab_collector.datasources.retrying import Tries, unavailable
from trimtab_common.domain.errors import FailedPrecondition, TrimtabError, Unavailable
from trimtab_common.openstack.session import CloudSession
from trimtab_common.runtime.clock import Clock

if TYPE_CHECKING:  # importing the SDK takes a second: done in a thread, at the first call
    from openstack.connection import Connection

SERVICE_TYPE = "metric-storage"


@dataclass(frozen=True, slots=True, kw_only=True)
class AetosSettings:
    """[aetos_client]."""

    interface: str = "public"
    region_name: str | None = None
    fqdn_label: str = "fqdn"
    instance_uuid_label: str = "resource"
    timeout_s: float = 30.0
    tries: Tries = field(default_factory=Tries)


class AetosApi:
    """A `PrometheusApi` through the Keystone service `metric-storage`."""

    def __init__(self, session: CloudSession, settings: AetosSettings) -> None:
        self._session = session
        self._settings = settings
        self._client: Any = None
        self._making = asyncio.Lock()

    async def get(self, path: str, params: Mapping[str, str]) -> Any:
        """See PrometheusApi. Unavailable also when the catalogue has no such service."""
        try:
            async with self._making:
                if self._client is None:
                    self._client = await self._session.run(self._made, "aetos")
            return await self._session.run(
                lambda _: self._client.data(path.removeprefix("/api/v1/"), params), "aetos"
            )
        except Unavailable:
            raise
        except TrimtabError as error:
            raise Unavailable(f"Aetos: {error.message}", final="yes") from error

    async def close(self) -> None:
        """The session is not ours."""

    def _made(self, connection: Connection) -> Any:
        try:
            from observabilityclient import prometheus_client  # noqa: PLC0415, an extra
            from observabilityclient.utils import metric_utils  # noqa: PLC0415, an extra
        except ImportError:
            raise FailedPrecondition(
                "python-observabilityclient is not installed: pip install trimtab[aetos]."
            ) from None
        options = {
            "service_type": SERVICE_TYPE,
            "interface": self._settings.interface,
            "region_name": self._settings.region_name,
        }
        found = metric_utils.get_prom_client_from_keystone(connection.session, options)
        limited = _Limited(connection.session, self._settings.timeout_s)

        class Client(prometheus_client.PrometheusAPIClient):  # type: ignore[misc]
            """With the requests that the client has no method for."""

            def data(self, endpoint: str, params: Mapping[str, str]) -> Any:
                try:
                    return self._get(endpoint, dict(params))["data"]
                except prometheus_client.PrometheusAPIClientError as error:
                    status = error.resp.status_code
                    text = f"Aetos answers {status}: {error.resp.text[:200]}."
                    raise unavailable(text, status) from error
                except (KeyError, TypeError, ValueError) as error:
                    raise Unavailable(f"Aetos does not answer as Prometheus: {error!r}.") from error

        return Client(found._host, limited, found._root_path, found._scheme)  # noqa: SLF001, it hands out none of them


class _Limited:
    """keystoneauth's session with a time limit; what is no success is an answer, not an error."""

    def __init__(self, session: Any, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s

    def get(self, url: str, **options: Any) -> Any:
        return self._session.get(
            url, raise_exc=False, timeout=self._timeout_s, authenticated=True, **options
        )


def build(
    session: CloudSession,
    settings: AetosSettings,
    clock: Clock,
    names: Mapping[str, str] = promql.NAMES,
) -> Prometheus:
    """The datasource."""
    return Prometheus(
        AetosApi(session, settings),
        clock,
        labels=promql.Labels(host=settings.fqdn_label, server=settings.instance_uuid_label),
        names=names,
        tries=settings.tries,
        name="aetos",
    )
