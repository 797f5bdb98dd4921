"""MaaS: its machines, as the same records as Ironic's (C-084), and their power.

MaaS is deprecated in Watcher and kept behind the small interface of `ironic.MachineReader`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from oslo_config import cfg

from trimtab_common.domain.baremetal import PowerState
from trimtab_common.domain.errors import DeadlineExceeded, InvalidArgument, Unavailable
from trimtab_common.openstack.errors import from_status, understood
from trimtab_common.openstack.ironic import MachineRecord
from trimtab_common.openstack.nova import NovaReader
from trimtab_common.openstack.nova_writes import OutcomeUnknown

GROUP = "maas_client"
OPTS: Sequence[cfg.Opt] = [
    cfg.StrOpt("url", help="MaaS; set: it is asked for machines instead of Ironic."),
    cfg.StrOpt("api_key", secret=True, help="CONSUMER:TOKEN:SECRET."),
    cfg.IntOpt("timeout", default=60, min=1, help="Seconds that an answer may take."),
]
_BAD_REQUEST = 400
_KEY_PARTS = 3
_POWER = {"on": PowerState.ON, "off": PowerState.OFF, "error": PowerState.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class MaasSettings:
    """Where MaaS is. api_key: CONSUMER:TOKEN:SECRET."""

    url: str
    api_key: str = field(repr=False)
    timeout_s: float = 60.0

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> MaasSettings | None:
        """What oslo.config read; None: there is no MaaS."""
        section = conf[GROUP]
        if not section.url:
            return None
        return cls(url=section.url, api_key=section.api_key or "", timeout_s=float(section.timeout))


class Maas:
    """A `MachineReader` over MaaS's API 2.0; Nova tells which hypervisor a machine is."""

    def __init__(
        self,
        settings: MaasSettings,
        nova: NovaReader,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        parts = settings.api_key.split(":")
        if len(parts) != _KEY_PARTS:
            raise InvalidArgument("[maas_client] api_key must be CONSUMER:TOKEN:SECRET.")
        self._key = parts
        self._nova = nova
        self._client = httpx.AsyncClient(
            base_url=settings.url.rstrip("/") + "/api/2.0",
            timeout=settings.timeout_s,
            transport=transport,
            trust_env=False,
        )

    async def machines(self) -> list[MachineRecord]:
        """All machines; compute_node_id by fqdn, which is Nova's hypervisor_hostname."""
        found = await self._get("/machines/")
        hypervisors = {row.hostname: row.uuid for row in await self._nova.hypervisors()}
        with understood("MaaS's machines"):
            return [_machine(item, hypervisors) for item in found]

    async def machine(self, uuid: str) -> MachineRecord:
        """One machine, by its system id."""
        found = await self._get(f"/machines/{uuid}/")
        hypervisors = {row.hostname: row.uuid for row in await self._nova.hypervisors()}
        with understood("MaaS's machine"):
            return _machine(found, hypervisors)

    async def switch(self, uuid: str, *, on: bool) -> None:
        """Turns a machine on or off; accepted, not done. OutcomeUnknown: it may have happened."""
        operation = "power_on" if on else "power_off"
        try:
            await self._send("POST", f"/machines/{uuid}/?op={operation}")
        except (Unavailable, DeadlineExceeded) as error:
            raise OutcomeUnknown(error.message) from error

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.aclose()

    async def _get(self, path: str) -> Any:
        response = await self._send("GET", path)
        with understood("MaaS's answer"):
            return response.json()

    async def _send(self, method: str, path: str) -> httpx.Response:
        consumer, token, secret = self._key
        header = ", ".join(
            [
                "OAuth oauth_version=1.0",
                "oauth_signature_method=PLAINTEXT",
                f"oauth_consumer_key={consumer}",
                f"oauth_token={token}",
                f"oauth_signature=&{secret}",
                f"oauth_nonce={secrets.token_hex(8)}",
                "oauth_timestamp=0",
            ]
        )
        try:
            response = await self._client.request(method, path, headers={"Authorization": header})
        except httpx.TimeoutException:
            raise DeadlineExceeded(f"MaaS {method} {path}: no answer in time.") from None
        except httpx.HTTPError as error:
            raise Unavailable(f"MaaS {method} {path}: {type(error).__name__}.") from None
        if response.status_code >= _BAD_REQUEST:
            raise from_status(response.status_code, response.text, f"MaaS {method} {path}")
        return response


def _machine(item: Mapping[str, Any], hypervisors: Mapping[str, str]) -> MachineRecord:
    text = str(item.get("power_state") or "")
    name = item.get("fqdn") or item.get("hostname") or ""
    status = str(item.get("status_name") or "")
    return MachineRecord(
        uuid=item["system_id"],
        name=name,
        power_text=text,
        power_state=_POWER.get(text, PowerState.UNKNOWN),
        maintenance=status == "Broken",
        maintenance_reason=str(item.get("error_description") or ""),
        compute_node_id=hypervisors.get(name, ""),
        up_when_off=False,
        fault=status if status == "Broken" or status.startswith("Failed") else "",
    )
