"""What collector reads from Keystone: which services there are (C-003, C-168)."""

from __future__ import annotations

from trimtab_common.openstack.errors import understood
from trimtab_common.openstack.session import CloudApi


class Keystone:
    """Reads of the identity API."""

    def __init__(self, api: CloudApi) -> None:
        self._api = api

    async def is_service_enabled(self, kind: str) -> bool:
        """Whether exactly one service of this type is enabled."""
        answer = await self._api.get("identity", "/services", params={"type": kind})
        with understood("Keystone's services"):
            services = [row for row in answer.body["services"] if row.get("type") == kind]
            return sum([bool(row.get("enabled", True)) for row in services]) == 1
