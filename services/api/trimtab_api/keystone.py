"""Checks Keystone tokens for both doors and for the edge (A-033): asked once, then remembered.

A good token is remembered under its hash for a minute and never past its end, so a revoked one dies
within that minute; a refused one for some seconds. However many calls bring the same new token at
once, Keystone is asked once. While Keystone is away, remembered tokens stay good. Tokens are
credentials: they are never logged, and neither is their hash.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import structlog

from trimtab_api.auth import Identity
from trimtab_common.domain.errors import FailedPrecondition, Unauthenticated, Unavailable
from trimtab_common.runtime.clock import Clock
from trimtab_common.runtime.sharing import Shared

if TYPE_CHECKING:  # importing the SDK takes a second: done in a thread, when the service starts
    from openstack.connection import Connection

log = structlog.get_logger(__name__)
TOKEN_HEADER = "x-auth-token"  # noqa: S105, the name of a header
REFUSAL = "The request you have made requires authentication."
CACHE_S = 60.0
REFUSED_CACHE_S = 5.0
MAX_REMEMBERED = 10_000
MAX_ASKING = 64
THREADS = 8
TIMEOUT_S = 10.0
MAX_TOKEN_CHARS = 8192
_OK, _NOT_FOUND = 200, 404
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What Keystone says about a good token."""

    identity: Identity
    expires_at: datetime


class TokenSource(Protocol):
    """Knows tokens."""

    @property
    def auth_url(self) -> str:
        """Where clients get tokens."""
        ...

    def look_up(self, token: str) -> TokenFacts | None:
        """None when the token is not good; Unavailable when that cannot be told. In threads."""
        ...

    def close(self) -> None:
        """Ends its connections."""
        ...


class KeystoneAuthenticator:
    """An `Authenticator` that remembers what the source says."""

    def __init__(
        self,
        source: TokenSource,
        *,
        clock: Clock,
        cache_s: float = CACHE_S,
        challenge_url: str | None = None,
    ) -> None:
        self._source = source
        self._clock = clock
        self._cache_s = cache_s
        self._challenge_url = challenge_url
        self._good: _Memory[TokenFacts] = _Memory(MAX_REMEMBERED)
        self._refused: _Memory[None] = _Memory(MAX_REMEMBERED)
        self._asking: Shared[bytes, TokenFacts | None] = Shared()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="keystone")

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Unauthenticated without a good token; Unavailable when Keystone does not answer."""
        token = headers.get(TOKEN_HEADER, "")
        if not _may_be_a_token(token):
            raise self._refusal()
        key = hashlib.sha256(token.encode()).digest()
        moment = self._clock.monotonic()
        entry = self._good.get(key, moment)
        if entry is None:
            if self._refused.holds(key, moment):
                raise self._refusal()
            entry = await self._ask_once(key, token)
        if entry is None or entry.expires_at <= self._clock.now():
            raise self._refusal()
        return entry.identity

    async def close(self) -> None:
        """Ends the threads and what is being asked."""
        self._asking.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._source.close()

    async def _ask_once(self, key: bytes, token: str) -> TokenFacts | None:
        """Joins the question that is on its way, or sends it. It outlives a caller who hangs up."""
        if key not in self._asking and len(self._asking) >= MAX_ASKING:
            raise Unavailable(
                "Keystone is slow: too many tokens wait to be checked. Try again in a few seconds."
            )
        return await self._asking.ask(key, lambda: self._ask(key, token))

    async def _ask(self, key: bytes, token: str) -> TokenFacts | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_S * 1.5):  # the client's own limit is by read
                facts = await loop.run_in_executor(self._pool, self._source.look_up, token)
        except TimeoutError:
            raise _away(self._source.auth_url, f"no answer within {TIMEOUT_S:.0f} s") from None
        moment = self._clock.monotonic()
        if facts is None:
            self._refused.put(key, None, until=moment + REFUSED_CACHE_S)
        else:
            left_s = (facts.expires_at - self._clock.now()).total_seconds()
            self._good.put(key, facts, until=moment + min(self._cache_s, left_s))
        return facts

    def _refusal(self) -> Unauthenticated:
        url = self._challenge_url or self._source.auth_url
        return Unauthenticated(REFUSAL, challenge=f'Keystone uri="{url}"')


class _Memory(Generic[_V]):
    """Values until their time, the oldest dropped beyond `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[bytes, tuple[float, _V]] = OrderedDict()

    def get(self, key: bytes, moment: float) -> _V | None:
        """The value, or None when there is none or its time is over."""
        entry = self._entries.get(key)
        if entry is None or entry[0] <= moment:
            return None
        return entry[1]

    def holds(self, key: bytes, moment: float) -> bool:
        """Whether the key is here and its time not over."""
        entry = self._entries.get(key)
        return entry is not None and entry[0] > moment

    def put(self, key: bytes, value: _V, *, until: float) -> None:
        """Keeps a value until that moment."""
        self._entries[key] = (until, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)


class KeystoneClient:
    """A `TokenSource`: Keystone itself, asked by api's own user over keystoneauth.

    `connect` may take a second and touches no network: FailedPrecondition says what is wrong in
    the operator's clouds.yaml or configuration.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        from openstack.exceptions import ConfigException  # noqa: PLC0415, see above

        try:
            self._connection = connect()
            self._session = self._connection.session
            self.auth_url = str(self._session.auth.auth_url)  # type: ignore[union-attr]  # caught
        except ConfigException as error:
            raise FailedPrecondition(f"No way to Keystone: {error}") from error
        except AttributeError:
            raise FailedPrecondition(
                "No way to Keystone: the cloud's auth_type names no auth_url."
            ) from None
        self._session.timeout = self._session.timeout or TIMEOUT_S

    def look_up(self, token: str) -> TokenFacts | None:
        """None when Keystone does not know the token, or no longer."""
        from keystoneauth1 import exceptions as ksa  # noqa: PLC0415, see above
        from keystoneauth1.plugin import AUTH_INTERFACE  # noqa: PLC0415, see above

        try:
            answer = self._session.get(
                "/auth/tokens?nocatalog",
                headers={"X-Subject-Token": token},
                endpoint_filter={
                    "service_type": "identity",
                    "interface": AUTH_INTERFACE,
                    "version": (3, 0),
                },
                raise_exc=False,
                log=False,
                connect_retries=1,  # a connection kept from before Keystone's restart
                connect_retry_delay=0.1,
            )
        except ksa.Unauthorized as error:
            raise _away(self.auth_url, "it refuses api's own user", cause=str(error)) from error
        except ksa.ClientException as error:
            raise _away(self.auth_url, "it does not answer", cause=str(error)) from error
        if answer.status_code == _NOT_FOUND:
            return None
        if answer.status_code != _OK:
            raise _away(self.auth_url, f"it answers {answer.status_code}")
        try:
            return _facts(answer.json()["token"])
        except (ValueError, KeyError, TypeError) as error:
            raise _away(self.auth_url, "its answer is none of Keystone's") from error

    def close(self) -> None:
        """Ends the connections."""
        self._connection.close()


def _facts(token: Mapping[str, Any]) -> TokenFacts:
    scope = token.get("system") or {}
    return TokenFacts(
        identity=Identity(
            user_id=token["user"]["id"],
            project_id=(token.get("project") or {}).get("id", ""),
            domain_id=(token.get("domain") or {}).get("id", ""),
            system_scope="all" if scope.get("all") else "",
            roles=frozenset(role["name"] for role in token.get("roles", ())),
        ),
        expires_at=datetime.fromisoformat(token["expires_at"]),
    )


def _may_be_a_token(text: str) -> bool:
    """Whether it can stand in a header of ours at all; the rest is Keystone's to say."""
    return (
        0 < len(text) <= MAX_TOKEN_CHARS
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )


def _away(url: str, problem: str, *, cause: str = "") -> Unavailable:
    log.error("tokens cannot be checked", keystone=url, problem=problem, cause=cause or None)
    return Unavailable(
        f"Tokens cannot be checked: Keystone at {url}: {problem}. Try again in a few seconds."
    )
