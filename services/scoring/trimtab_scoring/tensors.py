"""Between the Open Inference Protocol's tensors and rows of numbers; called by the servicer.

An engine is a model with one input, `features`, and one output, `scores`. Whoever knows the columns
by name may send one tensor a column instead, in any order, and ask for single columns of scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference import grpc_service_pb2 as pb
from trimtab_common.domain.errors import InvalidArgument
from trimtab_scoring.columns import Column, columns_of, order_of
from trimtab_scoring.engine import ScoringEngine

FEATURES = "features"
"""Name of every engine's input."""
SCORES = "scores"
"""Name of every engine's output."""
COLUMNS, UNITS = "columns", "units"
"""Parameters of a tensor: names and units of its columns, in order, as JSON lists."""

MAX_ROWS = 10_000
"""A larger batch would hold its thread for too long; send several requests."""

DTYPES: Mapping[str, str] = {
    "BOOL": "?",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
}
"""The protocol's datatypes that are numbers, as numpy's."""
_CONTENTS = {
    "BOOL": "bool_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
}
_RANK_OF_A_ROW, _RANK_OF_A_BATCH = 1, 2


class TensorRefused(InvalidArgument):
    """The request's tensors are not well-formed features of this engine."""

    reason = "TENSOR_REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks. rows: [rows, n_features]; is_batch: the answer keeps that first axis.

    outputs: names of single columns of scores; empty for all of them in one tensor.
    """

    rows: NDArray[np.float64]
    is_batch: bool
    outputs: tuple[str, ...] = ()


def read_request(engine: ScoringEngine, request: pb.ModelInferRequest) -> Asked:
    """The question in the engine's order of features.

    Raises TensorRefused and FeaturesRefused, naming what is wrong and what is expected.
    """
    columns = columns_of(engine)
    names = [tensor.name for tensor in request.inputs]
    raw = request.raw_input_contents
    if raw and len(raw) != len(names):
        raise TensorRefused(f"{len(raw)} raw contents for {len(names)} inputs; send one for each.")
    outputs = _outputs(columns.scores, request)
    contents = [raw[position] if raw else None for position in range(len(names))]
    if names == [FEATURES]:
        tensor = request.inputs[0]
        shape = _checked_shape(tensor.shape)
        values = _elements(tensor, contents[0], shape).reshape((-1, shape[-1]))
        rows, is_batch = values, len(shape) == _RANK_OF_A_BATCH
        rows = _reordered(engine, columns.features, tensor, rows)
    elif names and {*names} <= {column.name for column in columns.features}:
        order = order_of(engine, names)
        parts = [
            _one_column(columns.features, tensor, content)
            for tensor, content in zip(request.inputs, contents, strict=True)
        ]
        if len({len(part) for part in parts}) != 1:
            raise TensorRefused(
                f"The columns have {[len(part) for part in parts]} rows; send as many."
            )
        rows, is_batch = np.stack([parts[place] for place in order], axis=1), True
    else:
        known = ", ".join(column.name for column in columns.features)
        either = f", or one tensor for each of {known}" if known else ""
        raise TensorRefused(f"Expected exactly one input named {FEATURES!r}{either}; got {names}.")
    if not np.isfinite(rows).all():
        raise TensorRefused("Features must be finite numbers; NaN or infinity was given.")
    return Asked(rows=rows, is_batch=is_batch, outputs=outputs)


def typed_elements(contents: pb.InferTensorContents, datatype: str) -> NDArray[np.float64]:
    """The elements of typed contents as floats; none when they are in another field."""
    field = _CONTENTS.get(datatype)
    typed = () if field is None else getattr(contents, field)
    return np.asarray(typed, dtype=np.float64)


def _outputs(scores: Sequence[Column], request: pb.ModelInferRequest) -> tuple[str, ...]:
    names = tuple(output.name for output in request.outputs)
    if names in ((), (SCORES,)):
        return ()
    known = [column.name for column in scores]
    if not {*names} <= {*known}:
        either = f", or {', '.join(known)}" if known else ""
        raise TensorRefused(f"The outputs are {SCORES!r}{either}; asked for {list(names)}.")
    return names


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) not in (_RANK_OF_A_ROW, _RANK_OF_A_BATCH) or any(size < 1 for size in shape):
        raise TensorRefused(
            f"Shape {list(shape)} is neither one row [n] nor a batch of rows [b, n], sizes above 0."
        )
    if len(shape) == _RANK_OF_A_BATCH and shape[0] > MAX_ROWS:
        raise TensorRefused(f"{shape[0]} rows are too many for one request; at most {MAX_ROWS}.")
    return tuple(int(size) for size in shape)


def _one_column(
    features: Sequence[Column], tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None
) -> NDArray[np.float64]:
    """A tensor of one column, [b] or [b, 1]."""
    shape = _checked_shape(tensor.shape)
    if shape[0] > MAX_ROWS or shape[1:] not in ((), (1,)):
        raise TensorRefused(
            f"Input {tensor.name} has the shape {list(shape)}; one column has [b] or [b, 1],"
            f" at most {MAX_ROWS} rows."
        )
    column = next(column for column in features if column.name == tensor.name)
    _check_units([column], _listed(tensor, UNITS))
    return _elements(tensor, raw, shape).ravel()


def _reordered(
    engine: ScoringEngine,
    features: Sequence[Column],
    tensor: pb.ModelInferRequest.InferInputTensor,
    rows: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The rows in the engine's order, when the client says in which order they come."""
    names = _listed(tensor, COLUMNS)
    units = _listed(tensor, UNITS)
    if names is None:
        _check_units(features, units)
        return rows
    order = order_of(engine, names)
    if rows.shape[1] != len(order):
        raise TensorRefused(f"{len(order)} columns are named, the rows have {rows.shape[1]}.")
    by_name = {column.name: column for column in features}
    _check_units([by_name[name] for name in names], units)
    return rows[:, order]


def _listed(tensor: pb.ModelInferRequest.InferInputTensor, key: str) -> list[str] | None:
    if key not in tensor.parameters:
        return None
    try:
        texts = json.loads(tensor.parameters[key].string_param)
    except ValueError:
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise TensorRefused(f"Parameter {key!r} of {tensor.name} must be a JSON list of texts.")
    return texts


def _check_units(columns: Sequence[Column], units: list[str] | None) -> None:
    """Units are compared, never converted: a wrong guess would be a wrong score."""
    if units is None:
        return
    if len(units) != len(columns):
        raise TensorRefused(f"{len(units)} units are given for {len(columns)} columns.")
    for column, unit in zip(columns, units, strict=True):
        if unit != column.unit:
            raise TensorRefused(f"{column.name} must be in {column.unit!r}; got {unit!r}.")


def _elements(
    tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    if tensor.datatype not in DTYPES:
        raise TensorRefused(
            f"Datatype {tensor.datatype!r} is not supported; use one of {', '.join(DTYPES)}."
        )
    if raw is None:
        values = typed_elements(tensor.contents, tensor.datatype)
    elif tensor.HasField("contents"):
        raise TensorRefused("Both contents and raw_input_contents are given; send one of them.")
    else:
        dtype = np.dtype(DTYPES[tensor.datatype])
        if len(raw) % dtype.itemsize:
            raise TensorRefused(
                f"{len(raw)} raw bytes are no whole number of {tensor.datatype} elements"
                f" of {dtype.itemsize} bytes."
            )
        values = np.frombuffer(raw, dtype=dtype).astype(np.float64)
    expected = int(np.prod([int(size) for size in shape], dtype=object))
    if values.size != expected:
        raise TensorRefused(f"Shape {list(shape)} needs {expected} elements, got {values.size}.")
    return values


def write_scores(
    response: pb.ModelInferResponse,
    engine: ScoringEngine,
    asked: Asked,
    scores: NDArray[np.float64],
    *,
    raw: bool,
) -> None:
    """Adds the output tensors: [rows, n] for a batch, else [n]; single columns [rows]."""
    if not asked.outputs:
        _write(response, SCORES, scores if asked.is_batch else scores[0], raw=raw)
        return
    names = [column.name for column in columns_of(engine).scores]
    for name in asked.outputs:
        _write(response, name, scores[:, names.index(name)], raw=raw)


def _write(
    response: pb.ModelInferResponse, name: str, values: NDArray[np.float64], *, raw: bool
) -> None:
    output = response.outputs.add(name=name, datatype="FP64")
    output.shape.extend(values.shape)
    if raw:
        response.raw_output_contents.append(values.astype("<f8").tobytes())
    else:
        output.contents.fp64_contents.extend(values.ravel())
