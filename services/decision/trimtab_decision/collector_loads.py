"""Has collector hold what an audit needs, before it is planned (C-044..C-047).

A collector that reads the whole cloud at start answers at once; one told `load = on_request` reads the
hosts of the audit's scope first. Our replica follows it: the audit waits until it shows them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import grpc
import grpc.aio
import structlog

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.wire.replica import ModelReplica

log = structlog.get_logger(__name__)
_READ_TIMEOUT_S = 660.0
"""Longer than collector gives itself for reading a whole cloud."""
_FOLLOW_TIMEOUT_S = 30.0

Load = Callable[[Sequence[Any]], Awaitable[str]]
"""Scope -> what went wrong, "" when the model holds what the scope needs."""


async def nothing_to_load(_scope: Sequence[Any]) -> str:
    """A `Load` for models that are whole."""
    return ""


class Followed(Protocol):
    """The replica, as far as asking for more and waiting for it goes."""

    @property
    def sources(self) -> Sequence[model_pb2_grpc.ModelServiceAsyncStub]:
        """All collectors, the one that it follows now first."""
        ...

    async def wait_until(self, reached: Callable[[Any], bool], timeout_s: float) -> None:
        """Returns when the model is as asked. TimeoutError."""
        ...


class CollectorLoads:
    """A `Load` by collector's LoadModel. Its failures do not fail an audit: a model may be there."""

    def __init__(self, replica: ModelReplica | Followed) -> None:
        self._replica = replica

    async def __call__(self, scope: Sequence[Any]) -> str:
        """Asks, and waits until the replica shows it. InvalidArgument: it is no scope."""
        request = model_pb2.LoadModelRequest(
            kind="compute", scope_json=json.dumps(list(scope), sort_keys=True) if scope else ""
        )
        problem, follows_it = "", True
        for source in self._replica.sources:
            try:
                answer = await source.LoadModel(request, timeout=_READ_TIMEOUT_S)
                await self._shown(answer.position, follows_it=follows_it)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                    raise InvalidArgument(
                        error.details() or "collector refuses the scope"
                    ) from error
                problem = error.details() or error.code().name
                follows_it = False  # it goes over to the next one soon, too
            except TimeoutError:
                problem = f"its model was not here within {_FOLLOW_TIMEOUT_S:.0f} s"
                break
            else:
                return ""
        log.warning("collector could not be asked to load", problem=problem)
        return f"Collector could not be asked to load this scope ({problem.rstrip('.')}): planned on what it holds."

    async def _shown(self, position: model_pb2.Position, *, follows_it: bool) -> None:
        """Returns when the replica shows this position. TimeoutError when it does not in time."""
        epoch, revision = position.epoch, int(position.revision)

        def reached(model: Any) -> bool:
            if model.epoch == epoch:
                return bool(model.revision >= revision)
            # revisions of two collectors never compare: what another one holds is taken as it is
            return follows_it

        await self._replica.wait_until(reached, _FOLLOW_TIMEOUT_S)
