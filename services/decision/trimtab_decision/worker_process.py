"""The inside of a planning worker: reads questions from a pipe, answers each, ends with the pipe.

Started by `workers`. The pipe ends when the service does, however it ended, so no worker outlives
it. Imports little, because that is what a start costs.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.runtime import memory
from trimtab_decision import parcel
from trimtab_decision.errors import StrategyFailed
from trimtab_decision.execution import Desk, Scoring
from trimtab_decision.framework.context import Incumbent
from trimtab_decision.plugins import load_registry

GC_THRESHOLDS = (50_000, 20, 100)
"""A plan is made of many objects that live to its end: looking at them at every 700th was an eighth of the work."""
YIELDING = 5
"""Niceness: where all cores think, the service and its neighbours still answer at once."""


class Job(StrEnum):
    """The methods of Desk that may be asked for."""

    EXECUTE = "execute"
    ORDER = "order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker sends back: one of our errors, or word that a result follows.

    incumbent: neither of them yet, but the best plan so far.
    """

    error: TrimtabError | None = None
    incumbent: Incumbent | None = None


def main() -> None:
    """Arguments: the pipe's file descriptor, scoring's address or nothing, its time limit."""
    serve(Connection(int(sys.argv[1])), sys.argv[2] or None, float(sys.argv[3]))


def serve(pipe: Connection, scoring_address: str | None, scoring_timeout_s: float) -> None:
    """Loads the plug-ins, says ready, then answers jobs until the pipe ends."""
    os.nice(YIELDING)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; main decides
    desk = Desk(load_registry(), _scoring(scoring_address, scoring_timeout_s))
    gc.enable()  # it rested during the imports, which leave no garbage
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        send(pipe, _reply(lambda: None))
        while True:
            memory.give_back()
            job: Job = pipe.recv()
            if job is Job.EXECUTE:
                question = parcel.unpack_question(pipe.recv_bytes)
                send(pipe, _reply(partial(desk.execute, question, partial(tell, pipe))))
            else:
                send(pipe, _reply(partial(desk.order, *pipe.recv())))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def tell(pipe: Connection, incumbent: Incumbent) -> None:
    """Sends the best plan so far, before the answer."""
    pipe.send_bytes(pickle.dumps(Answer(incumbent=incumbent)))


def _scoring(address: str | None, timeout_s: float) -> Scoring | None:
    return None if address is None else _LateScoring(address, timeout_s)


class _LateScoring:
    """RemoteScoring that is imported when it is asked first: few strategies score."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._made: Scoring | None = None

    def begin(self) -> None:
        if self._made is not None:
            self._made.begin()

    def row(self, engine: str, features: Sequence[float]) -> Sequence[float]:
        return self._scoring().row(engine, features)

    def rows(self, engine: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._scoring().rows(engine, rows)

    def _scoring(self) -> Scoring:
        if self._made is None:
            from trimtab_decision.scorer import RemoteScoring  # noqa: PLC0415, imports grpc

            self._made = RemoteScoring(self._address, timeout_s=self._timeout_s)
        return self._made


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
