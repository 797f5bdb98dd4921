"""Microversions: what the OpenStack-API-Version header asks for and what answers carry (A §1.3)."""

from __future__ import annotations

import re
from typing import ClassVar

from trimtab_common.domain.errors import Code, InvalidArgument, TrimtabError
from trimtab_common.domain.resources import MAX_MINOR

SERVICE_TYPE = "infra-optim"
MINIMUM = "1.0"
MAXIMUM = f"1.{MAX_MINOR}"
MAX_SHOWN = 40

_NUMERIC = re.compile(r"-?[0-9]+(\.-?[0-9]+)*")
_MAX_DIGITS = 9
"""Longer numbers are beyond the range without being read."""


class NotAcceptable(TrimtabError):
    """The requested microversion does not exist, or is too low for what is asked: 406."""

    reason: ClassVar[str] = "MICROVERSION_NOT_ACCEPTABLE"
    code: ClassVar[Code] = Code.INVALID_ARGUMENT


class MicroversionTooLow(InvalidArgument):
    """The one case in which Watcher answers 400 and not 406: PATCH of actions below 1.5."""

    reason: ClassVar[str] = "MICROVERSION_TOO_LOW"


def negotiate(header: str | None) -> int:
    """The minor version to answer with; NotAcceptable outside the range (A-019, A-021)."""
    asked = _asked_of_this_service(header or "")
    if asked == "latest":
        return MAX_MINOR
    if asked is None or not _NUMERIC.fullmatch(asked):
        return 0
    major, *minors = (_number(part) for part in asked.split("."))
    minor = minors[0] if minors else 0
    if major != 1 or len(minors) > 1 or not 0 <= minor <= MAX_MINOR:
        shown = asked if len(asked) <= MAX_SHOWN else f"{asked[:MAX_SHOWN]}..."
        raise NotAcceptable(
            f"Version {shown} was requested but this service supports versions from "
            f"{MINIMUM} to {MAXIMUM} of the {SERVICE_TYPE} API."
        )
    return minor


def _number(text: str) -> int:
    return int(text) if len(text) <= _MAX_DIGITS else -1


def require(minor: int, since: int) -> None:
    """Raises NotAcceptable when the request's version is below the feature's (table §1.3)."""
    if minor < since:
        raise NotAcceptable(f"API microversion 1.{since} or higher is required.")


def headers(minor: int | None) -> tuple[tuple[str, str], ...]:
    """What every answer below /v1 carries; `minor` None when none was accepted (A-020).

    The bounds are plain numbers: the stock client parses them when it renegotiates (A-023).
    """
    always = (
        ("openstack-api-minimum-version", MINIMUM),
        ("openstack-api-maximum-version", MAXIMUM),
        ("vary", "OpenStack-API-Version"),
    )
    if minor is None:
        return always
    return (*always, ("openstack-api-version", f"{SERVICE_TYPE} 1.{minor}"))


def _asked_of_this_service(header: str) -> str | None:
    """The header may name several services, separated by commas; the last word for ours counts."""
    for item in reversed(header.lower().split(",")):
        words = item.split(None, 1)
        if len(words) == 2 and words[0] == SERVICE_TYPE:  # noqa: PLR2004, service and version
            return words[1].strip()
    return None
