"""Audits, plans and all else of the optimization API as a service of openstacksdk.

    connection = trimtab_sdk.connected(openstack.connect(cloud="mycloud"))
    audit = connection.infra_optim.create_audit(goal="server_consolidation", audit_type="ONESHOT")

Stands alone: it needs openstacksdk and nothing else of Trimtab. It asks for the newest microversion that both
ends know, so it speaks to Watcher's API too.
"""

from __future__ import annotations

from typing import Any

from openstack.service_description import ServiceDescription

from trimtab_sdk.proxy import Proxy

SERVICE_TYPE = "infra-optim"
__all__ = ["SERVICE_TYPE", "InfraOptimService", "Proxy", "connected"]


class InfraOptimService(ServiceDescription[Proxy]):
    """For `extra_services` of a connection, or its `add_service`."""

    supported_versions = {"1": Proxy}  # noqa: RUF012, as openstacksdk declares it

    def __init__(self) -> None:
        super().__init__(service_type=SERVICE_TYPE)


def connected(connection: Any) -> Any:
    """The connection, with `infra_optim` on it."""
    connection.add_service(InfraOptimService())
    return connection
