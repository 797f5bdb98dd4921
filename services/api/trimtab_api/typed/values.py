"""Free-form JSON and times to and from protobuf's own types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf import json_format, struct_pb2, timestamp_pb2

from trimtab_common.domain.errors import InvalidArgument

Json = Any


def struct(value: Mapping[str, Json] | None) -> struct_pb2.Struct:
    """An object as a Struct; None gives an empty one."""
    return json_format.ParseDict(dict(value or {}), struct_pb2.Struct())


def list_value(value: Sequence[Json]) -> struct_pb2.ListValue:
    """A list as a ListValue."""
    return json_format.ParseDict(list(value), struct_pb2.ListValue())  # type: ignore[arg-type]  # the stub knows objects only


def plain(message: struct_pb2.Struct | struct_pb2.ListValue) -> Json:
    """Plain JSON; whole numbers become integers again, which a Struct cannot tell apart.

    InvalidArgument for what JSON has no words for: NaN and infinities.
    """
    try:
        return _whole(json_format.MessageToDict(message))
    except (json_format.Error, ValueError, RecursionError) as error:
        raise InvalidArgument(f"Free-form JSON that no JSON text can hold: {error}") from None


def timestamp(at: datetime | None) -> timestamp_pb2.Timestamp | None:
    """A Timestamp; None stays unset."""
    if at is None:
        return None
    result = timestamp_pb2.Timestamp()
    result.FromDatetime(at)
    return result


def value(json: Json) -> struct_pb2.Value:
    """Any JSON as a Value."""
    return json_format.ParseDict(json, struct_pb2.Value())


def moment(stamp: timestamp_pb2.Timestamp) -> datetime:
    """The time of a Timestamp, aware UTC; InvalidArgument outside the years 1 to 9999."""
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(f"A time that no calendar has: {error}") from None


def _whole(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_whole(member) for member in value]
    return value
