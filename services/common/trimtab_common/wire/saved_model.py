"""A model with its measured load in a file: `trimtab model save`, `trimtab simulate --model`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import SEEK_END, BytesIO
from pathlib import Path

from google.protobuf.message import DecodeError
from google.protobuf.proto import parse_length_prefixed, serialize_length_prefixed

from trimtab.model.v1 import metrics_pb2, model_pb2, saved_model_pb2
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.wire import metrics_codec
from trimtab_common.wire.snapshot_codec import (
    SnapshotReader,
    begin_message,
    chunk_messages,
    position_of,
)

MAGIC = b"trimtab-model/1\n"


def model_messages(
    snapshot: ComputeSnapshot, *, digest: str = "", reason: str = "requested"
) -> Iterator[model_pb2.GetModelResponse]:
    """A snapshot as GetModel streams it."""
    yield model_pb2.GetModelResponse(begin=begin_message(snapshot, reason))
    for chunk in chunk_messages(snapshot):
        yield model_pb2.GetModelResponse(compute=chunk)
    end = model_pb2.SnapshotEnd(position=position_of(snapshot), digest=digest)
    yield model_pb2.GetModelResponse(end=end)


def model_of(messages: Iterable[model_pb2.GetModelResponse]) -> ComputeModel:
    """The model that GetModel streamed. InvalidArgument when it is cut short or out of order."""
    reader: SnapshotReader | None = None
    for message in messages:
        part = message.WhichOneof("part")
        if part == "begin":
            reader = SnapshotReader(message.begin)
        elif reader is None:
            raise InvalidArgument("A model begins with its head; this one does not.")
        elif part == "compute":
            reader.add(message.compute)
        elif part == "end":
            return reader.finish(message.end)
    raise InvalidArgument("The model ends before its end: it was cut short.")


def save_model(path: str | Path, snapshot: ComputeSnapshot, metrics: MetricsTable | None) -> None:
    """Writes the file, replacing one that is there."""
    file = BytesIO(MAGIC)
    file.seek(0, SEEK_END)
    for part in model_messages(snapshot):
        serialize_length_prefixed(saved_model_pb2.SavedRecord(model=part), file)
    if metrics is not None:
        for values in metrics_codec.messages(snapshot, metrics):
            serialize_length_prefixed(saved_model_pb2.SavedRecord(metrics=values), file)
    Path(path).write_bytes(file.getbuffer())


def load_model(path: str | Path) -> tuple[ComputeSnapshot, MetricsTable]:
    """What `save_model` wrote. InvalidArgument when the file is unreadable, cut or not one."""
    parts: list[model_pb2.GetModelResponse] = []
    values: list[metrics_pb2.QueryMetricsResponse] = []
    try:
        file = BytesIO(Path(path).read_bytes())
    except OSError as error:
        raise InvalidArgument(f"Cannot read {path}: {error.strerror}.") from None
    if file.read(len(MAGIC)) != MAGIC:
        raise InvalidArgument(f"{path} is not a saved model of this release.")
    for record in _records(file, path):
        if record.HasField("metrics"):
            values.append(record.metrics)
        else:
            parts.append(record.model)
    snapshot = model_of(parts).snapshot()
    return snapshot, metrics_codec.table(snapshot, values)


def _records(file: BytesIO, path: str | Path) -> Iterator[saved_model_pb2.SavedRecord]:
    try:
        while record := parse_length_prefixed(saved_model_pb2.SavedRecord, file):
            yield record
    except (DecodeError, ValueError):
        raise InvalidArgument(f"{path} is cut short or damaged.") from None
