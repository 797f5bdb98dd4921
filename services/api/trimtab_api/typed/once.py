"""Creates that happen once: a request id is stored with what it was answered (AIP-155)."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from trimtab_api import idents
from trimtab_api.auth import Identity
from trimtab_api.conditions import Also, nothing_more
from trimtab_common.domain.errors import AlreadyExists, InvalidArgument
from trimtab_common.store import Session, Store

M = TypeVar("M", bound=Message)
_CALLER_LENGTH = 255


class RequestIdReused(InvalidArgument):
    """The request id came before with another request."""

    reason: ClassVar[str] = "REQUEST_ID_REUSED"


async def create(
    store: Store,
    identity: Identity,
    request: Any,
    *,
    answer: type[M],
    message: Callable[[Any], M],
    make: Callable[[Also], Awaitable[Any]],
) -> M:
    """What `make` creates, as a `message`; the first answer again when the request came before.

    `make` is a use case; it stores the answer in its own transaction, so that either both are
    there or none. A request without an id is simply carried out.
    InvalidArgument: an id that is no uuid, or REQUEST_ID_REUSED.
    """
    if not request.request_id:
        return message(await make(nothing_more))
    request_id = idents.parse_uuid(request.request_id)
    if request_id is None:
        raise InvalidArgument(f"request_id must be a uuid, not '{request.request_id[:60]}'.")
    caller = f"{identity.user_id} {identity.project_id}"[:_CALLER_LENGTH]
    digest = _digest(request)

    async def earlier() -> M | None:
        async with store.read() as session:
            found = await session.requests.find(caller, request_id)
        if found is None:
            return None
        if found.digest != digest:
            raise RequestIdReused(
                f"The request_id {request_id} was used before with another request. "
                "Choose a new one for each new request."
            )
        return json_format.Parse(found.answer, answer())

    async def keep(session: Session, record: Any) -> None:
        text = json_format.MessageToJson(message(record), indent=None)
        await session.requests.keep(caller, request_id, digest=digest, answer=text)

    known = await earlier()
    if known is not None:
        return known
    try:
        return message(await make(keep))
    except AlreadyExists:  # its twin was first, and took the name or the id
        known = await earlier()
        if known is None:
            raise
        return known


def _digest(request: Message) -> str:
    kind = request.DESCRIPTOR.full_name.encode()
    body = request.SerializeToString(deterministic=True)
    return hashlib.blake2b(kind + b"\0" + body, digest_size=20).hexdigest()
