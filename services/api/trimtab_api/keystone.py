"""auth=keystone: Keystone v3 tokens, validated once and remembered for a short time (A-033).

On the main path: the REST core and the typed gate ask `identify`. Tokens are kept as their
SHA-256 only; many requests with a new token ask Keystone once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from keystoneauth1 import exceptions as keystone_errors
from keystoneauth1.session import Session

from trimtab_api.auth import Identity
from trimtab_common.domain.errors import Unauthenticated, Unavailable
from trimtab_common.runtime.clock import Clock

log = structlog.get_logger(__name__)
TOKEN_HEADER = "x-auth-token"  # noqa: S105, the name of a header
GOOD_FOR_S = 60.0
BAD_FOR_S = 10.0
MAX_REMEMBERED = 10_000
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What Keystone said about a token. `identity` None: it is not good."""

    identity: Identity | None
    expires_at: datetime | None = None


Validate = Callable[[str], Awaitable[Verdict]]
"""Asks Keystone about a token. Unavailable when it does not answer."""


class KeystoneAuth:
    """Turns tokens into identities; see `auth.Authenticator`."""

    def __init__(self, validate: Validate, *, clock: Clock, www_authenticate_uri: str) -> None:
        self._validate = validate
        self._clock = clock
        self._challenge = f'Keystone uri="{www_authenticate_uri}"'
        self._known: OrderedDict[str, tuple[Identity | None, float]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Identity | None]] = {}

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Unauthenticated without a good token; Unavailable when Keystone does not answer."""
        token = headers.get(TOKEN_HEADER, "")
        identity = await self._identity_of(token) if token else None
        if identity is None:
            raise Unauthenticated(
                "The request you have made requires authentication.", challenge=self._challenge
            )
        return identity

    async def _identity_of(self, token: str) -> Identity | None:
        key = hashlib.sha256(token.encode()).hexdigest()
        known = self._known.get(key)
        if known is not None and known[1] > self._clock.monotonic():
            return known[0]
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.create_task(self._ask(key, token), name="keystone")
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(asking)  # one caller that gives up does not stop the others

    async def _ask(self, key: str, token: str) -> Identity | None:
        verdict = await self._validate(token)
        good_for_s = BAD_FOR_S if verdict.identity is None else GOOD_FOR_S
        if verdict.expires_at is not None:
            left_s = (verdict.expires_at - self._clock.now()).total_seconds()
            good_for_s = min(good_for_s, left_s)
        self._known.pop(key, None)
        self._known[key] = (verdict.identity, self._clock.monotonic() + good_for_s)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return verdict.identity


def validate_with(session: Session) -> Validate:
    """Asks through a keystoneauth session of the service user, in a thread: it blocks."""

    async def validate(token: str) -> Verdict:
        return await asyncio.to_thread(_validate, session, token)

    return validate


def _validate(session: Session, token: str) -> Verdict:
    try:
        answer = session.get(
            "/auth/tokens?nocatalog",
            headers={"X-Subject-Token": token},
            endpoint_filter={"service_type": "identity", "interface": "public", "version": (3, 0)},
            timeout=TIMEOUT_S,
        )
    except keystone_errors.NotFound:
        return Verdict(identity=None)
    except keystone_errors.ClientException as error:
        log.warning("keystone does not validate tokens", problem=type(error).__name__)
        raise Unavailable(
            "Keystone does not answer. Check that it runs and that [keystone_authtoken] is right."
        ) from None
    return parse_token(answer.json()["token"])


def parse_token(token: Mapping[str, Any]) -> Verdict:
    """The verdict in the body of Keystone's answer."""
    return Verdict(
        identity=Identity(
            user_id=token["user"]["id"],
            project_id=token.get("project", {}).get("id", ""),
            roles=frozenset(role["name"] for role in token.get("roles", ())),
        ),
        expires_at=datetime.fromisoformat(token["expires_at"]),
    )
