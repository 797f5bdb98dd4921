"""Lets a typed call pass when its caller may: the same authenticator and rules as REST."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc.aio

from trimtab_api.auth import Authenticator, Identity, Policy
from trimtab_api.rest.request import folded

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Checks token and policy of a call."""

    authenticator: Authenticator
    policy: Policy

    async def check(self, context: Context, *rules: str) -> Identity:
        """Who calls. Unauthenticated, or PermissionDenied naming the first rule not passed."""
        return await self.check_headers(metadata(context), *rules)

    async def check_headers(self, headers: Mapping[str, str], *rules: str) -> Identity:
        """The same for headers or metadata, names in lower case."""
        identity = await self.authenticator.identify(headers)
        for rule in rules:
            self.policy.enforce(rule, identity)
        return identity


def metadata(context: Context) -> dict[str, str]:
    """The text metadata of a call, names in lower case; binary metadata is none of ours."""
    return folded(
        (name, value)
        for name, value in context.invocation_metadata() or ()
        if isinstance(value, str)
    )
