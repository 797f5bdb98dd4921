"""Update masks: which fields of a message an update sets (AIP-134)."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from trimtab_common.domain.errors import InvalidArgument

NAMING = frozenset({"uuid", "etag"})
"""Fields that say which resource and version is meant; never changed."""


def changed(message: Message, mask: FieldMask, changeable: Iterable[str]) -> list[str]:
    """The fields to set, in the order of the mask; without one, those that are set.

    InvalidArgument names a field that does not exist or may not be changed. `*` means all that can.
    """
    known = set(changeable)
    if list(mask.paths) == ["*"]:
        return sorted(known)
    paths = list(dict.fromkeys(mask.paths)) or [
        field.name for field, _ in message.ListFields() if field.name not in NAMING
    ]
    for path in paths:
        if path not in known:
            raise InvalidArgument(
                f"update_mask names '{path[:60]}', which cannot be changed here; it may name "
                f"{', '.join(sorted(known))}."
            )
    return paths
