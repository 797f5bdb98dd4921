"""Etags: a short digest over a record, and the condition that a caller makes of one (AIP-154)."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import orjson

from trimtab_api.conditions import Guard, any_version
from trimtab_api.typed.gate import Context, metadata
from trimtab_common.domain.errors import Conflict

IF_MATCH = "if-match"
_BYTES = 9


class EtagMismatch(Conflict):
    """The resource is not the version that the caller means."""

    reason: ClassVar[str] = "ETAG_MISMATCH"


def of(record: Any) -> str:
    """Changes whenever anything stored of the record does; its times have microseconds."""
    return hashlib.blake2b(orjson.dumps(record), digest_size=_BYTES).hexdigest()


def guard(wanted: str, context: Context) -> Guard:
    """The condition of a request: its etag field, else the header If-Match; none by default."""
    expected = wanted or metadata(context).get(IF_MATCH, "")
    expected = expected.strip().removeprefix("W/").strip('"')
    if expected in ("", "*"):
        return any_version

    def check(record: Any) -> None:
        current = of(record)
        if current != expected:
            raise EtagMismatch(
                f"The etag {expected[:40]} is not the current one. Read the resource again, look at "
                "what changed, and repeat the request with its new etag.",
                current=current,
            )

    return check
