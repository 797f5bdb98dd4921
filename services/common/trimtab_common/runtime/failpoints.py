"""Places where a process can be made to die, fail or stop, to see that the system bears it.

Off unless the environment variable TRIMTAB_FAILPOINTS names some; `runtime.service.run` reads it once, at
the start. Off, passing one costs the look at an empty dict. This list is the only one: a test holds the
code to it.

    TRIMTAB_FAILPOINTS="applier.write.before=crash@3;decision.publish.before=error"

arms `applier.write.before` to end the process (SIGKILL) at its third passage. An armed failpoint fires
once. Where TRIMTAB_FAILPOINTS_ONCE names a file, it fires in the process that can create that file only: of
several that are armed one dies, and is not killed again when it is back. TRIMTAB_FAILPOINTS=@FILE takes the
orders from a file, and again at each SIGUSR2. Kinds: `crash`; `error` raises Unavailable; `pause` stops the process (SIGSTOP) until it gets
SIGCONT; `pause:2.5` blocks the whole process for that many seconds.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from trimtab_common.domain.errors import Bug, FailedPrecondition, Unavailable

log = structlog.get_logger(__name__)
VARIABLE = "TRIMTAB_FAILPOINTS"
ONCE = "TRIMTAB_FAILPOINTS_ONCE"

NAMES: Mapping[str, str] = {
    "applier.claim.before": "a plan was found, its lease is not asked for yet",
    "applier.claim.after": "the lease is held, nothing of the plan was read",
    "applier.plan.loaded": "plan and actions were read, the plan is not ONGOING yet",
    "applier.plan.started": "the plan is ONGOING, no action is",
    "applier.plan.adopted": "a plan of another applier was taken over, nothing was looked for yet",
    "applier.action.checked": "pre_condition held, ONGOING and the intent are not committed",
    "applier.action.started": "ONGOING and the intent are committed, the cloud was not asked",
    "applier.write.before": "the lease is good, the request to the cloud is not sent",
    "applier.write.after": "the cloud accepted, nothing of it is recorded",
    "applier.move.seen": "a look at a move came back",
    "applier.action.worked": "the action's work is done, its end is not recorded",
    "applier.action.ended": "the end of an action is recorded, its children did not start",
    "applier.plan.finishing": "all actions ended, the plan's end is not recorded",
    "applier.plan.ended": "the plan's end is recorded, its lease is not given back",
    "applier.cancel.before": "the plan is CANCELLING, none of its actions was touched",
    "applier.cancel.pending": "the PENDING actions of a cancelled plan ended, the running ones did not",
    "applier.revert.before": "an action of a failed plan is about to be undone, nothing of it is recorded",
    "applier.revert.started": "what a revert intends is committed, the cloud was not asked",
    "applier.revert.worked": "a revert's work is done, its end is not recorded",
    "applier.lease.renew": "the lease of a running plan is about to be renewed",
    "decision.claim.before": "an audit is due, its lease is not asked for yet",
    "decision.claim.after": "the audit is ONGOING and ours, nothing was planned",
    "decision.model.taken": "model and metrics are gathered, the strategy did not run",
    "decision.strategy.after": "the strategy ran, the planner did not",
    "decision.planner.after": "the plan is made, nothing of it is stored",
    "decision.publish.before": "the audit is still wanted, nothing of its plan is stored",
    "decision.publish.after": "the plan is visible, it is not launched and the audit not ended",
    "decision.launch.before": "inside the transaction that launches the plan",
    "decision.launch.after": "the plan is PENDING, the audit has not ended",
    "decision.audit.succeeded": "the audit's end is recorded, applier is not woken",
    "decision.sync.goals": "the goals are synced, the strategies are not",
    "decision.sync.strategies": "the strategies are synced, the scoring engines are not",
    "decision.tidy.before": "plans are about to expire and leftovers to be removed",
    "api.audit.create": "inside the transaction that creates an audit",
    "api.audit.created": "the audit is committed, decision is not woken and the caller not answered",
    "api.audit.update": "inside the transaction that changes an audit",
    "api.plan.start": "inside the transaction that launches a plan",
    "api.plan.started": "the plan is PENDING, applier is not woken and the caller not answered",
    "api.plan.cancel": "the plan is cancelled or CANCELLING, its actions were not touched",
    "api.wake.before": "a wake-up is about to be sent",
    "collector.sync.before": "a read of the cloud is about to begin",
    "collector.sync.read": "the cloud was read, the model was not changed",
    "collector.sync.applied": "the model was changed, the sync is not marked as done",
    "collector.delta.before": "changes are applied to the model, the delta is not in the log",
    "collector.delta.after": "the delta is in the log, the watchers are not woken",
    "collector.snapshot.part": "a part of a snapshot was sent to a watcher",
    "store.outbox.add": "notifications are about to be written in the transaction of their save",
    "store.publish.stored": "a plan's row is stored invisible, none of its actions",
    "store.publish.chunk": "a chunk of a plan's actions is stored invisible",
    "store.publish.show": "all actions are stored, the plan is not visible yet",
}
"""Every failpoint: its name (service or room, what, when) and what has happened there and what not."""


class Kind(StrEnum):
    """What an armed failpoint does."""

    CRASH = "crash"
    ERROR = "error"
    PAUSE = "pause"


@dataclass(slots=True)
class _Order:
    kind: Kind
    passages_left: int
    pause_s: float | None


_armed: dict[str, _Order] = {}


def reach(name: str) -> None:
    """Fires if this failpoint is armed and its passage has come. Unavailable: of kind `error`."""
    if _armed:
        _pass(name)


def arm(text: str) -> None:
    """Takes the orders of `TRIMTAB_FAILPOINTS` in place of those before; empty: none.

    FailedPrecondition for a name, kind or number that means nothing, and then nothing is armed.
    """
    _armed.clear()
    orders = dict(_parsed(part.strip()) for part in text.split(";") if part.strip())
    _armed.update(orders)
    for name, order in orders.items():
        log.warning("failpoint armed", name=name, kind=order.kind, passage=order.passages_left)


def arm_from_environment() -> bool:
    """Takes the orders of the environment, if there are any; True: they may change with SIGUSR2."""
    text = os.environ.get(VARIABLE, "")
    is_file = text.startswith("@")
    if is_file:
        arm(Path(text[1:]).read_text(encoding="utf-8").strip())
    elif text:
        arm(text)
    return is_file


def _parsed(part: str) -> tuple[str, _Order]:
    name, _, order = part.partition("=")
    what, _, passage = order.partition("@")
    kind, _, seconds = what.partition(":")
    if name not in NAMES:
        raise FailedPrecondition(f"{VARIABLE}: there is no failpoint {name!r}")
    try:
        number = int(passage or 1)
        pause_s = float(seconds) if seconds else None
        parsed = _Order(Kind(kind), number, pause_s)
    except ValueError as error:
        raise FailedPrecondition(
            f"{VARIABLE}: {part!r}: {error}; write NAME=KIND or NAME=KIND@PASSAGE"
        ) from None
    if number < 1 or (pause_s is not None and parsed.kind is not Kind.PAUSE):
        raise FailedPrecondition(f"{VARIABLE}: {part!r}: passages count from 1, only pauses last")
    return name, parsed


def _pass(name: str) -> None:
    if name not in NAMES:
        raise Bug(f"Failpoint {name!r} is not on the list")
    order = _armed.get(name)
    if order is None:
        return
    order.passages_left -= 1
    if order.passages_left:
        return
    del _armed[name]
    if not _is_first(name):
        return
    log.warning("failpoint fires", name=name, kind=order.kind)
    _ACTS[order.kind](name, order.pause_s)


def _is_first(name: str) -> bool:
    path = os.environ.get(ONCE)
    if not path:
        return True
    try:
        with Path(path).open("x", encoding="utf-8") as token:
            token.write(f"{name} {os.getpid()} {time.time()}\n")
    except FileExistsError:
        return False
    return True


def _crash(_name: str, _pause_s: float | None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _error(name: str, _pause_s: float | None) -> None:
    raise Unavailable(f"Failpoint {name} was armed to fail here")


def _pause(_name: str, pause_s: float | None) -> None:
    if pause_s is None:
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        time.sleep(pause_s)


_ACTS: Mapping[Kind, Callable[[str, float | None], None]] = {
    Kind.CRASH: _crash,
    Kind.ERROR: _error,
    Kind.PAUSE: _pause,
}
