"""Whom the daily commands speak to, and the Keystone token they show there."""

from __future__ import annotations

from typing import Any

import click


class Target:
    """The gateway's address; the token is fetched when a command first needs it."""

    def __init__(self, address: str, *, token: str | None, cloud: str | None) -> None:
        self.address = address
        self._given = token
        self._cloud = cloud
        self._session: Any = None
        self._fetched: str | None = None

    @property
    def token(self) -> str | None:
        """The token given, else one of the cloud named, else None (for auth=none).

        Raises:
            click.ClickException: the cloud is not in clouds.yaml, or gives no token.
        """
        if self._given or not self._cloud:
            return self._given
        if self._fetched is None:
            self._fetched = self._ask_keystone()
        return self._fetched

    def renew(self) -> str | None:
        """Another token instead of one that was refused; None when only the caller could give one.

        Raises:
            click.ClickException: the cloud gives no token.
        """
        if self._given or not self._cloud:
            return None
        if self._session is not None:
            self._session.invalidate()
        self._fetched = None
        return self.token

    def _ask_keystone(self) -> str:
        # openstacksdk costs a second to import: only who names a cloud pays.
        import openstack  # noqa: PLC0415, see above
        from keystoneauth1.exceptions import ClientException  # noqa: PLC0415, see above
        from openstack.exceptions import SDKException  # noqa: PLC0415, see above

        try:
            if self._session is None:
                config = openstack.config.OpenStackConfig().get_one(cloud=self._cloud)
                self._session = config.get_session()
            return str(self._session.get_token())
        except (ClientException, SDKException) as error:
            raise click.ClickException(f"no token from cloud {self._cloud}: {error}") from error
