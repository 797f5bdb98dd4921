"""Who calls, and whether the policy allows it (A-033, A-034): what both doors ask.

`keystone.py` checks tokens, `policies.py` enforces the operator's rules; here is what they share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from trimtab_common.domain.errors import PermissionDenied

ADMIN_ROLES = frozenset({"admin", "administrator"})
SERVICE_ROLE = "service"
SERVICE_RULES = frozenset({"webhook:trigger"})
"""Rules that the role service passes too (admin_or_service_api)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A caller, as Keystone knows him. `domain_id`, `system_scope`: when the token is for those."""

    user_id: str = ""
    project_id: str = ""
    domain_id: str = ""
    system_scope: str = ""
    roles: frozenset[str] = frozenset()


ANONYMOUS_ADMIN = Identity(user_id="admin", roles=frozenset({"admin"}))


class Authenticator(Protocol):
    """Turns request headers into an identity."""

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Unauthenticated without a good token; Unavailable when nobody can tell."""
        ...

    async def close(self) -> None:
        """Ends what it holds open."""
        ...


class NoAuth:
    """auth=none: everybody is an administrator."""

    async def identify(self, headers: Mapping[str, str]) -> Identity:  # noqa: ARG002, a protocol
        """Always the same administrator."""
        return ANONYMOUS_ADMIN

    async def close(self) -> None:
        """Holds nothing."""


class Policy(Protocol):
    """Decides whether an identity passes a named rule."""

    def enforce(self, rule: str, identity: Identity) -> None:
        """PermissionDenied, naming the rule."""
        ...


class DefaultPolicy:
    """The defaults: `admin_api` for every rule, `admin_or_service_api` for the webhook."""

    def enforce(self, rule: str, identity: Identity) -> None:
        """PermissionDenied, naming the rule."""
        roles = {role.lower() for role in identity.roles}
        if roles & ADMIN_ROLES or (rule in SERVICE_RULES and SERVICE_ROLE in roles):
            return
        raise denied(rule)


def denied(rule: str) -> PermissionDenied:
    """The refusal of a rule, in the words of oslo.policy (A-016)."""
    return PermissionDenied(f"Policy doesn't allow {rule} to be performed.", rule=rule)
