"""Between the Open Inference Protocol's tensors and rows of numbers; called by the servicer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference import grpc_service_pb2 as pb
from trimtab_common.domain.errors import InvalidArgument

FEATURES = "features"
"""Name of every engine's input."""
SCORES = "scores"
"""Name of every engine's output."""

MAX_ROWS = 10_000
"""A larger batch would hold its thread for too long; send several requests."""

_DTYPES = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}
_CONTENTS = {
    "FP64": "fp64_contents",
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
}
_RANK_OF_A_ROW, _RANK_OF_A_BATCH = 1, 2


class TensorRefused(InvalidArgument):
    """The request's tensors are not one well-formed `features`."""

    reason = "TENSOR_REFUSED"


def read_rows(request: pb.ModelInferRequest) -> tuple[NDArray[np.float64], bool]:
    """The rows of features, [rows, n], and whether the client sent a batch (rank 2).

    Raises TensorRefused, naming what is wrong and what is expected.
    """
    if len(request.inputs) != 1 or request.inputs[0].name != FEATURES:
        names = [tensor.name for tensor in request.inputs]
        raise TensorRefused(f"Expected exactly one input named {FEATURES!r}, got {names}.")
    if any(output.name != SCORES for output in request.outputs):
        names = [output.name for output in request.outputs]
        raise TensorRefused(f"The only output is {SCORES!r}, asked for {names}.")
    tensor = request.inputs[0]
    if tensor.datatype not in _DTYPES:
        raise TensorRefused(
            f"Datatype {tensor.datatype!r} is not supported; use one of {', '.join(_DTYPES)}."
        )
    shape = _checked_shape(tensor.shape)
    values = _elements(request, tensor)
    expected = int(np.prod(shape))
    if values.size != expected:
        raise TensorRefused(f"Shape {list(shape)} needs {expected} elements, got {values.size}.")
    if not np.isfinite(values).all():
        raise TensorRefused("Features must be finite numbers; NaN or infinity was given.")
    return values.reshape((-1, shape[-1])), len(shape) == _RANK_OF_A_BATCH


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) not in (_RANK_OF_A_ROW, _RANK_OF_A_BATCH) or any(size < 1 for size in shape):
        raise TensorRefused(
            f"Shape {list(shape)} is neither one row [n] nor a batch of rows [b, n], sizes above 0."
        )
    if len(shape) == _RANK_OF_A_BATCH and shape[0] > MAX_ROWS:
        raise TensorRefused(f"{shape[0]} rows are too many for one request; at most {MAX_ROWS}.")
    return tuple(int(size) for size in shape)


def _elements(
    request: pb.ModelInferRequest, tensor: pb.ModelInferRequest.InferInputTensor
) -> NDArray[np.float64]:
    dtype = np.dtype(_DTYPES[tensor.datatype])
    typed = getattr(tensor.contents, _CONTENTS[tensor.datatype])
    if not request.raw_input_contents:
        return np.asarray(typed, dtype=np.float64)
    if tensor.HasField("contents"):
        raise TensorRefused("Both contents and raw_input_contents are given; send one of them.")
    if len(request.raw_input_contents) != 1:
        raise TensorRefused(
            f"{len(request.raw_input_contents)} raw contents for one input; send exactly one."
        )
    raw = request.raw_input_contents[0]
    if len(raw) % dtype.itemsize:
        raise TensorRefused(
            f"{len(raw)} raw bytes are no whole number of {tensor.datatype} elements"
            f" of {dtype.itemsize} bytes."
        )
    return np.frombuffer(raw, dtype=dtype).astype(np.float64)


def write_scores(
    response: pb.ModelInferResponse, scores: NDArray[np.float64], *, batched: bool, raw: bool
) -> None:
    """Adds the output tensor to the response: [rows, n] for a batch, else [n]."""
    output = response.outputs.add(name=SCORES, datatype="FP64")
    output.shape.extend(scores.shape if batched else scores.shape[1:])
    if raw:
        response.raw_output_contents.append(scores.astype("<f8").tobytes())
    else:
        output.contents.fp64_contents.extend(scores.ravel())
