"""The way to a service of Keystone's catalogue: its endpoint and a token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trimtab_common.domain.errors import TrimtabError, Unavailable
from trimtab_common.openstack.session import CloudSession

if TYPE_CHECKING:  # importing the SDK takes a second: done in a thread, at the first call
    from openstack.connection import Connection


class CatalogueDoor:
    """A `Door` by service type. `url`: instead of the catalogue's."""

    def __init__(
        self,
        session: CloudSession,
        service_type: str,
        *,
        interface: str = "public",
        region_name: str | None = None,
        url: str | None = None,
    ) -> None:
        self._session = session
        self._service_type = service_type
        self._interface = interface
        self._region_name = region_name
        self._url = url

    async def endpoint(self) -> str:
        """From the catalogue, once. Unavailable when the service is not in it."""
        if self._url is None:
            self._url = await self._asked(self._look)
        return self._url.rstrip("/")

    async def headers(self) -> Mapping[str, str]:
        """Keystoneauth's token, new when the old one is about to end."""
        return {"X-Auth-Token": await self._asked(lambda found: str(found.session.get_token()))}

    async def reset(self) -> None:
        """Forgets the token that was refused."""
        await self._session.run(lambda found: found.session.invalidate(), self._service_type)

    def _look(self, connection: Connection) -> str:
        found = connection.session.get_endpoint(
            service_type=self._service_type,
            interface=self._interface,
            region_name=self._region_name,
        )
        if not found:
            raise Unavailable(
                f"Keystone's catalogue has no {self._interface} endpoint of {self._service_type}"
                f"{f' in {self._region_name}' if self._region_name else ''}.",
                final="yes",
            )
        return str(found)

    async def _asked(self, call: Callable[[Connection], str]) -> str:
        try:
            return await self._session.run(call, self._service_type)
        except Unavailable:
            raise
        except TrimtabError as error:
            raise Unavailable(error.message, final="yes") from error
