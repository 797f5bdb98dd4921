"""What may name a resource: an id, a uuid or a name (A-032)."""

from __future__ import annotations

import uuid

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.resources import Ident, Resource

MAX_ID_DIGITS = 18


def parse(resource: Resource, text: str) -> int | str:
    """The ident as the store takes it; InvalidArgument when only a uuid will do and it is none."""
    as_uuid = parse_uuid(text)
    if resource.ident is Ident.UUID:
        if as_uuid is None:
            raise InvalidArgument(f"Expected a uuid but received {text}.")
        return as_uuid
    if text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS:
        return int(text)
    if as_uuid is not None and resource.ident is not Ident.ID_NAME:
        return as_uuid
    return text.replace("\x00", "\ufffd")  # PostgreSQL refuses NUL, and no name has one


def parse_uuid(text: str) -> str | None:
    """The uuid in its one form, whatever its case and dashes; None when the text is none."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
