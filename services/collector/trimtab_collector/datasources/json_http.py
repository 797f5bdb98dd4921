"""JSON over HTTP, for datasources that are asked directly or through Keystone's catalogue."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from trimtab_collector.datasources.retrying import ONCE, Tries, tried, unavailable
from trimtab_common.domain.errors import TrimtabError, Unavailable
from trimtab_common.runtime.clock import Clock

_UNAUTHORIZED = 401


class Door(Protocol):
    """Where a service is and what opens it."""

    async def endpoint(self) -> str:
        """Its URL without a slash at the end. Unavailable."""
        ...

    async def headers(self) -> Mapping[str, str]:
        """What each request carries. Unavailable."""
        ...

    async def reset(self) -> None:
        """The next headers are new: these were refused."""
        ...


@dataclass(frozen=True, slots=True)
class OpenDoor:
    """A URL that is known, and fixed headers."""

    url: str
    fixed: tuple[tuple[str, str], ...] = ()

    async def endpoint(self) -> str:
        """The URL."""
        return self.url.rstrip("/")

    async def headers(self) -> Mapping[str, str]:
        """The fixed ones."""
        return dict(self.fixed)

    async def reset(self) -> None:
        """They stay."""


class Refused(Unavailable):
    """The service answered that it will not: `status` and `answer` say why."""

    def __init__(self, message: str, *, status: int, answer: Any) -> None:
        error = unavailable(message, status)
        super().__init__(error.message, **error.details)
        self.status = status
        self.answer = answer


class JsonHttp:
    """Requests with retries. `what`: the service's name in messages."""

    def __init__(
        self,
        door: Door,
        clock: Clock,
        *,
        name: str,
        what: str,
        tries: Tries,
        timeout_s: float,
        verify: ssl.SSLContext | bool = True,
        auth: tuple[str, str] | None = None,
    ) -> None:
        self._door = door
        self._clock = clock
        self._name = name
        self._what = what
        self._tries = tries
        self._client = httpx.AsyncClient(
            auth=auth,
            verify=verify,
            timeout=timeout_s,
            headers={"Accept": "application/json"},
            trust_env=False,  # a proxy for the internet is not the way to one's own services
        )

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        once: bool = False,
    ) -> Any:
        """The decoded answer. Refused: with its status; Unavailable: there was no answer."""
        return await tried(
            lambda: self._once(method, path, dict(params or {}), body),
            name=self._name,
            clock=self._clock,
            tries=ONCE if once else self._tries,
        )

    async def problem(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """Empty when this path answers; asked once."""
        try:
            await self.ask("GET", path, params=params, once=True)
        except TrimtabError as error:
            return error.message
        return ""

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()

    async def _once(self, method: str, path: str, params: dict[str, str], body: Any) -> Any:
        endpoint = await self._door.endpoint()
        try:
            return await self._sent(method, endpoint + path, params, body)
        except Refused as error:
            if error.status != _UNAUTHORIZED:
                raise
        await self._door.reset()
        return await self._sent(method, endpoint + path, params, body)

    async def _sent(self, method: str, url: str, params: dict[str, str], body: Any) -> Any:
        where = f"{self._what} at {url.split('?', maxsplit=1)[0]}"
        try:
            response = await self._client.request(
                method,
                url,
                params=params or None,
                json=body,
                headers=dict(await self._door.headers()),
            )
            answer = await asyncio.to_thread(response.json)
        except httpx.HTTPError as error:
            raise Unavailable(f"{where}: {str(error) or type(error).__name__}.") from error
        except ValueError:
            answer = response.text[:200]
            if response.is_success:
                raise Unavailable(f"{where} does not answer JSON: {answer!r}.") from None
        if response.is_success:
            return answer
        raise Refused(
            f"{where} answers {response.status_code}: {_words(answer)}.",
            status=response.status_code,
            answer=answer,
        )


def _words(answer: Any) -> str:
    if isinstance(answer, dict):
        answer = answer.get("error") or answer.get("description") or answer.get("message") or answer
    return str(answer)[:200]
