"""Strategies' questions to the scoring service, over gRPC; runs in a planning worker.

Every question ends: what one plan may wait for scores in all is limited, and what goes wrong is told
in a text that names the engine (B-312). A strategy that never asks needs no scoring service.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from inference import grpc_service_pb2, grpc_service_pb2_grpc
from trimtab.scoring.v1 import scoring_pb2, scoring_pb2_grpc
from trimtab_common.runtime import channels
from trimtab_common.runtime.errors import from_rpc_error
from trimtab_decision.framework.errors import ScoringFailed

_MAX_ROWS = 10_000
_MAX_BYTES = 8 * 1024 * 1024


class RemoteScoring:
    """Asks the service at this address; the channel opens at the first question.

    timeout_s: of all questions of one plan together.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._clock = clock
        self._left_s = timeout_s
        self._channel: grpc.Channel | None = None

    def begin(self) -> None:
        """A new plan: its questions may take the whole time again."""
        self._left_s = self._timeout_s

    def row(self, engine: str, features: Sequence[float]) -> Sequence[float]:
        """Scores of one row; ScoringFailed."""
        stub = scoring_pb2_grpc.ScoringServiceStub(self._opened())
        request = scoring_pb2.CalculateScoreRequest(engine=engine, features=features)
        return tuple(self._ask(engine, stub.CalculateScore, request).scores)

    def rows(self, engine: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of many rows, [rows, n_features] to [rows, n_scores]; ScoringFailed."""
        table = np.ascontiguousarray(rows, dtype="<f8")
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(self._opened())
        step = max(1, min(_MAX_ROWS, _MAX_BYTES // (8 * max(1, table.shape[1]))))
        parts = []
        for start in range(0, len(table), step):
            part = table[start : start + step]
            request = grpc_service_pb2.ModelInferRequest(
                model_name=engine, raw_input_contents=[part.tobytes()]
            )
            request.inputs.add(name="features", datatype="FP64", shape=part.shape)
            answer = self._ask(engine, stub.ModelInfer, request)
            scores = np.frombuffer(answer.raw_output_contents[0], "<f8")
            parts.append(scores.reshape(tuple(answer.outputs[0].shape)))
        return np.concatenate(parts) if parts else np.zeros((0, 0))

    def _opened(self) -> grpc.Channel:
        if self._channel is None:
            self._channel = grpc.insecure_channel(self._address, options=channels.OPTIONS)
        return self._channel

    def _ask(self, engine: str, method: Any, request: Any) -> Any:
        if self._left_s <= 0:
            raise ScoringFailed(
                f"Scoring engine {engine} is not asked any more: the questions of this plan took "
                f"{self._timeout_s:.0f} s already. Ask for many rows at once, or raise "
                "[watcher_decision_engine] scoring_timeout_s."
            )
        started = self._clock()
        try:
            return method(request, timeout=self._left_s)
        except grpc.RpcError as error:
            raise _failed(engine, error, self._address) from None
        finally:
            self._left_s -= self._clock() - started


def _failed(engine: str, error: grpc.RpcError, address: str) -> ScoringFailed:
    known = from_rpc_error(error)
    if "reason" in known.details:
        return ScoringFailed(known.message, scoring_reason=known.details["reason"])
    return ScoringFailed(
        f"Scoring engine {engine} was not reached: {error.code().name}: {known.message}. "
        f"Check that the scoring service runs at {address}."
    )
