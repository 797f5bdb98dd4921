"""How a row of features becomes the tensors that a remote model wants, and its tensors a row of scores.

Used by the clients. Features fill the inputs in the server's order, each as wide as its shape says;
outputs are put side by side. A model without a batch dimension is asked row by row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.errors import Unavailable
from trimtab_scoring.engine import EngineFailed
from trimtab_scoring.remote.file import RemoteSpec, Tensor
from trimtab_scoring.tensors import DTYPES

ANY = -1


class RemoteModelMismatch(EngineFailed):
    """The server's model is not what the file says."""

    reason = "REMOTE_MODEL_MISMATCH"


class RemoteUnavailable(Unavailable):
    """The server of a remote engine does not answer."""

    reason = "REMOTE_ENGINE_UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """One input of one request."""

    tensor: Tensor
    values: NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Inputs with the columns of features that fill them, and whether rows go in batches."""

    spec: RemoteSpec
    inputs: tuple[tuple[Tensor, slice], ...]
    is_batched: bool

    def fill(self, rows: NDArray[np.float64]) -> list[Filled]:
        """The inputs of one request for these rows: [rows, n_features]; one row when not batched."""
        return [
            Filled(
                tensor=tensor,
                values=_cast(self.spec, tensor, rows[:, part], is_batched=self.is_batched),
            )
            for tensor, part in self.inputs
        ]

    def join(self, outputs: Mapping[str, NDArray[np.float64]], n_rows: int) -> NDArray[np.float64]:
        """Scores [n_rows, n_scores] of what one request gave. RemoteModelMismatch."""
        names = self.spec.outputs or tuple(outputs)
        if missing := [name for name in names if name not in outputs]:
            raise RemoteModelMismatch(
                f"Remote engine {self.spec.name} did not give the outputs {', '.join(missing)}."
            )
        parts = []
        for name in names:
            values = outputs[name]
            if not self.is_batched:
                values = values.reshape(1, -1)
            elif values.ndim == 0 or len(values) != n_rows:
                raise RemoteModelMismatch(
                    f"Remote engine {self.spec.name} gave {name} of shape {values.shape}"
                    f" for {n_rows} rows."
                )
            parts.append(values.reshape(n_rows, -1))
        scores = np.concatenate(parts, axis=1)
        if scores.shape[1] != len(self.spec.scores):
            raise RemoteModelMismatch(
                f"Remote engine {self.spec.name} gave {scores.shape[1]} scores a row"
                f" ({', '.join(names)}); the file names {len(self.spec.scores)}."
            )
        return scores


def make_plan(spec: RemoteSpec, declared: Sequence[Tensor]) -> Plan:
    """The plan for a model with these inputs. RemoteModelMismatch when the features do not fit them."""
    if not declared:
        raise RemoteModelMismatch(
            f"The server of remote engine {spec.name} does not describe the inputs of model"
            f" {spec.model}; give them in the file as `inputs`."
        )
    n_features = len(spec.features)
    is_batched = any(tensor.shape[:1] == (ANY,) for tensor in declared)
    inputs: list[tuple[Tensor, slice]] = []
    start = 0
    for tensor in declared:
        if tensor.datatype not in DTYPES:
            raise RemoteModelMismatch(
                f"Input {tensor.name} of remote engine {spec.name} is {tensor.datatype}, no numbers."
            )
        sizes = tensor.shape[1:] if is_batched else tensor.shape
        if ANY in sizes:
            width = n_features if len(declared) == 1 else ANY
        elif is_batched and not sizes and len(declared) == 1:
            width = n_features  # [-1]: a column, or a row of any length that is then refused there
        else:
            width = math.prod(sizes)
        inputs.append((tensor, slice(start, start + width)))
        start += width
        if width < 0 or start > n_features:
            break
    if start != n_features or len(inputs) != len(declared):
        shapes = ", ".join(f"{one.name} {list(one.shape)}" for one in declared)
        raise RemoteModelMismatch(
            f"Remote engine {spec.name} has {n_features} features in the file, which do not fill the"
            f" inputs of its model: {shapes}."
        )
    return Plan(spec=spec, inputs=tuple(inputs), is_batched=is_batched)


def _cast(
    spec: RemoteSpec, tensor: Tensor, part: NDArray[np.float64], *, is_batched: bool
) -> NDArray[np.generic]:
    dtype = np.dtype(DTYPES[tensor.datatype])
    with np.errstate(invalid="ignore", over="ignore"):
        values = part.astype(dtype)
    exact = values.astype(np.float64)
    if dtype.kind in "iub" and not np.array_equal(exact, part):
        raise RemoteModelMismatch(
            f"Input {tensor.name} of remote engine {spec.name} is {tensor.datatype}; a feature is no"
            " such whole number."
        )
    if not np.isfinite(exact).all():
        raise RemoteModelMismatch(
            f"Input {tensor.name} of remote engine {spec.name} is {tensor.datatype}; a feature is"
            " too large for it."
        )
    if not is_batched:
        return values.reshape(_sizes(tensor.shape, values.size))
    return values.reshape((len(values), *_sizes(tensor.shape[1:], values.shape[1])))


def _sizes(shape: Sequence[int], n: int) -> tuple[int, ...]:
    """The shape with its one open size found; () stays () for a column."""
    if list(shape).count(ANY) > 1:
        return (*(1 for _ in shape[:-1]), n)
    known = math.prod(size for size in shape if size != ANY)
    return tuple(n // known if size == ANY else size for size in shape)
