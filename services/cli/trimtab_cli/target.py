"""Whom the daily commands speak to, and the Keystone token they show there."""

from __future__ import annotations

import functools

import click


class Target:
    """The gateway's address; the token is fetched when a command first needs it."""

    def __init__(self, address: str, *, token: str | None, cloud: str | None) -> None:
        self.address = address
        self._given = token
        self._cloud = cloud

    @functools.cached_property
    def token(self) -> str | None:
        """The token given, else one of the cloud named, else None (for auth=none).

        Raises:
            click.ClickException: the cloud is not in clouds.yaml, or gives no token.
        """
        if self._given or not self._cloud:
            return self._given
        # openstacksdk costs a second to import: only who names a cloud pays.
        import openstack  # noqa: PLC0415, see above
        from keystoneauth1.exceptions import ClientException  # noqa: PLC0415, see above
        from openstack.exceptions import SDKException  # noqa: PLC0415, see above

        try:
            session = openstack.config.OpenStackConfig().get_one(cloud=self._cloud).get_session()
            return str(session.get_token())
        except (ClientException, SDKException) as error:
            raise click.ClickException(f"no token from cloud {self._cloud}: {error}") from error
