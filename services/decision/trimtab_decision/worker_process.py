"""The inside of a planning worker: reads questions from a pipe, answers each, ends with the pipe.

Started by `workers`. The pipe ends when the service does, however it ended, so no worker outlives
it. Imports little, because that is what a start costs.
"""

from __future__ import annotations

import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from trimtab_common.domain.errors import TrimtabError
from trimtab_decision import parcel
from trimtab_decision.errors import StrategyFailed
from trimtab_decision.execution import Desk
from trimtab_decision.framework import Scorer
from trimtab_decision.plugins import load_registry

SCORING_TIMEOUT_S = 30.0


class Job(StrEnum):
    """The methods of Desk that may be asked for."""

    EXECUTE = "execute"
    ORDER = "order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker sends back: one of our errors, or word that a result follows."""

    error: TrimtabError | None = None


def main() -> None:
    """Arguments: the pipe's file descriptor, and scoring's address or nothing."""
    serve(Connection(int(sys.argv[1])), sys.argv[2] or None)


def serve(pipe: Connection, scoring_address: str | None) -> None:
    """Loads the plug-ins, says ready, then answers jobs until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; main decides
    scorer = None if scoring_address is None else remote_scorer(scoring_address)
    desk = Desk(load_registry(), scorer)
    try:
        send(pipe, _reply(lambda: None))
        while True:
            job: Job = pipe.recv()
            if job is Job.EXECUTE:
                question = parcel.unpack_question(pipe.recv_bytes)
                send(pipe, _reply(partial(desk.execute, question)))
            else:
                planner, options = pipe.recv()
                send(pipe, _reply(partial(desk.order, planner, options)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def send(pipe: Connection, messages: Iterable[parcel.Message]) -> None:
    """Sends each message by itself, letting other threads run in between."""
    for message in messages:
        pipe.send_bytes(message)


def _reply(work: Callable[[], Any]) -> list[parcel.Message]:
    """The whole reply to one job. Packed before anything is sent: pickling runs plug-ins' code."""
    try:
        return [pickle.dumps(Answer()), *parcel.pack(work())]
    except TrimtabError as error:
        return [_told(error)]
    except MemoryError:
        return [
            _told(
                StrategyFailed(
                    "Planning needs more memory than this machine gives. "
                    "Give the audit a smaller scope, or decision more memory."
                )
            )
        ]
    except Exception as error:  # noqa: BLE001, the process must go on; the error is recorded
        return [_told(StrategyFailed(f"Planning failed: {type(error).__name__}: {error}"))]


def _told(error: TrimtabError) -> bytes:
    """The error as bytes; one of a plug-in that cannot travel becomes a plain one."""
    try:
        packed = pickle.dumps(Answer(error=error))
        pickle.loads(packed)  # noqa: S301, our own bytes: proves that the other side can read it
    except Exception:  # noqa: BLE001, pickling runs plug-ins' code
        return pickle.dumps(Answer(error=StrategyFailed(f"Planning failed: {error}")))
    return packed


def remote_scorer(address: str) -> Scorer:
    """Asks the scoring service at this address; the channel opens at the first question."""
    stubs: list[Any] = []

    def score(engine: str, features: Sequence[float]) -> Sequence[float]:
        import grpc  # noqa: PLC0415, few strategies score

        from trimtab.scoring.v1 import scoring_pb2, scoring_pb2_grpc  # noqa: PLC0415, imports grpc

        if not stubs:
            stubs.append(scoring_pb2_grpc.ScoringServiceStub(grpc.insecure_channel(address)))
        request = scoring_pb2.CalculateScoreRequest(engine=engine, features=features)
        try:
            response = stubs[0].CalculateScore(request, timeout=SCORING_TIMEOUT_S)
        except grpc.RpcError as error:
            raise StrategyFailed(
                f"Scoring engine {engine} did not answer: {error.code().name}: {error.details()}. "
                f"Check that the scoring service runs at {address}."
            ) from None
        return tuple(response.scores)

    return score
