"""Writes to the cloud, sent once: no answer is no outcome.

A service's refusals come back as the errors of `openstack.errors`; when it did not answer, or failed
in answering, it is `OutcomeUnknown`: the caller looks before it does anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_common.domain.errors import DeadlineExceeded, NotFound, Unavailable
from trimtab_common.openstack.nova_writes import READ_TIMEOUT_S, OutcomeUnknown
from trimtab_common.openstack.session import CloudApi

SESSION_SLACK = 1.6
"""The session gives up after 1.5 times its limit; that, too, must be within ours."""


class Asked:
    """One service of the cloud, read and written by the applier."""

    def __init__(
        self,
        api: CloudApi,
        service: str,
        *,
        write_timeout_s: float,
        microversion: str | None = None,
    ) -> None:
        self._api = api
        self._service = service
        self._microversion = microversion
        self._write_timeout_s = write_timeout_s / SESSION_SLACK

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The body of an answer."""
        answer = await self._api.get(
            self._service,
            path,
            params=params,
            microversion=self._microversion,
            timeout_s=READ_TIMEOUT_S,
        )
        return answer.body

    async def find(self, path: str) -> Any:
        """The body, or None when there is no such thing."""
        try:
            return await self.get(path)
        except NotFound:
            return None

    async def write(self, method: str, path: str, body: Any) -> Any:
        """One write. OutcomeUnknown: it may have happened."""
        try:
            answer = await self._api.send(
                method,
                self._service,
                path,
                body=body,
                microversion=self._microversion,
                timeout_s=self._write_timeout_s,
            )
        except (Unavailable, DeadlineExceeded) as error:
            raise OutcomeUnknown(error.message, **error.details) from error
        return answer.body
