"""One run: a failpoint is armed, users ask for a plan of 30 actions, a service dies or stops, all must end well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import robust_traffic as traffic
import robust_validators as validators
from robust_site import SECOND, Shot, Site, eventually

from trimtab_common.runtime import failpoints

Json = Any
LIMIT_S = 30.0
"""From the restart, or from the take-over, to the plan's end."""
TAKE_OVER_LIMIT_S = 30.0
GIVE_UP_S = 240.0
"""Of a run that goes nowhere; a busy machine starts a process in a minute."""
SHOT_LIMIT_S = 15.0
AFTER_WAKING_S = 3.0

AT_START = (
    "decision.sync.goals",
    "decision.sync.strategies",
    "decision.tidy.before",
    "collector.sync.read",
    "collector.sync.applied",
    "collector.snapshot.part",
)
CANCELLED = ("applier.cancel.before", "applier.cancel.pending", "api.plan.cancel")
BY_HAND = ("api.plan.start", "api.plan.started", "api.wake.before")
ADOPTED = "applier.plan.adopted"
PASSAGES: Mapping[str, int] = {
    "applier.action.checked": 9,
    "applier.action.started": 8,
    "applier.write.before": 6,
    "applier.write.after": 7,
    "applier.move.seen": 12,
    "applier.action.worked": 14,
    "applier.action.ended": 11,
    "store.outbox.add": 25,
    "collector.delta.before": 2,
}
"""In the middle of the plan, not at its first action; everything else at the first passage."""
PAUSED = (
    "applier.claim.after",
    "applier.plan.started",
    "applier.action.checked",
    "applier.action.started",
    "applier.write.before",
    "applier.write.after",
    "applier.move.seen",
    "applier.action.worked",
    "applier.action.ended",
    "applier.plan.finishing",
    "applier.lease.renew",
)
"""Where an applier is stopped (SIGSTOP) until another has taken its plan over."""


ELSEWHERE = "applier.revert."
"""Only passed with rollback_when_actionplan_failed: tests/system/test_rollback.py dies there."""


@dataclass(frozen=True, slots=True)
class Run:
    """What to do. `passage`: at which passage the failpoint fires."""

    failpoint: str
    kind: str = "crash"

    @property
    def service(self) -> str:
        room = self.failpoint.partition(".")[0]
        if room != "store":
            return room
        return "decision" if ".publish." in self.failpoint else "applier"

    @property
    def order(self) -> str:
        return f"{self.failpoint}={self.kind}@{PASSAGES.get(self.failpoint, 1)}"

    def __str__(self) -> str:
        return f"{self.failpoint}:{self.kind}"


@dataclass(slots=True)
class Result:
    """What came of it; times in seconds, None where it does not apply."""

    run: Run
    appliers: int
    plan_state: str = ""
    taken_over_s: float | None = None
    ended_s: float | None = None
    problems: list[str] = field(default_factory=list)


def all_runs(*, appliers: int) -> Iterator[Run]:
    """Every failpoint; with two appliers also those where one is only stopped."""
    for name in failpoints.NAMES:
        if not name.startswith(ELSEWHERE):
            yield Run(name)
    if appliers > 1:
        for name in PAUSED:
            yield Run(name, "pause")


def carry_out(site: Site, run: Run) -> Result:
    """Does it and judges it. Nothing is raised but what makes the site unusable."""
    result = Result(run, len(site.appliers))
    course = _Course(site, run, result)
    try:
        course.go()
    except (AssertionError, TimeoutError, StopIteration, httpx.HTTPError) as error:
        result.problems.append(f"{type(error).__name__}: {error}")
    finally:
        course.over.set()
        site.disarm()
        traffic.until_all_ended(site)
    return result


class _Course:
    """One run under way. A guard beside it does what a supervisor would: starts again what died."""

    def __init__(self, site: Site, run: Run, result: Result) -> None:
        self.site = site
        self.run = run
        self.result = result
        self.over = threading.Event()
        self.shot: Shot | None = None
        self.resumed_at: float | None = None
        # the other applier has to do it: nothing is started again before the plan ends
        self.by_itself = run.service == "applier" and len(site.appliers) > 1
        self.plan: Json = None

    def go(self) -> None:
        """From the order to the judgement."""
        self.site.forget_shot()
        actions = traffic.thirty_actions(self.site)
        already = len(validators.ledger(self.site))
        guard = threading.Thread(target=self._guard)
        if self.run.failpoint != ADOPTED:
            at_start = self.run.failpoint in AT_START
            self.site.arm(self.run.service, self.run.order, at_start=at_start)
        guard.start()
        try:
            self._ask(actions)
            self._await_end()
            ended_at = time.monotonic()
            self._await_shot()
        finally:
            self.over.set()
            guard.join()
        self._judge_times(ended_at)
        if self.run.kind == "pause" and self.shot:
            self._wake_up()
        self.result.plan_state = self.plan["state"]
        written = validators.ledger(self.site)[already:]
        self.result.problems += validators.problems(self.site, self.plan, written)

    def _guard(self) -> None:
        while not self.over.wait(0.05):
            self.shot = self.shot or self.site.shot()
            if self.shot is None or self.resumed_at is not None:
                continue
            if not self.by_itself:
                self.resumed_at = self.site.restart(self.shot.child)
            elif self.plan and self._is_taken_over():
                self.resumed_at = time.monotonic()
                self.result.taken_over_s = self.resumed_at - self.shot.at

    def _ask(self, actions: list[dict[str, Json]]) -> None:
        name, by_hand = self.run.failpoint, self.run.failpoint in BY_HAND
        audit = traffic.post_audit(self.site, actions, auto_trigger=not by_hand)
        if name == "api.audit.update":
            traffic.rename_audit(self.site, audit)
        self._look(lambda plan: plan is not None, audit)
        if by_hand:
            traffic.start(self.site, self.plan)
        if name in CANCELLED or name == ADOPTED:
            self._look(lambda plan: plan["state"] == "ONGOING", audit)
            time.sleep(1.0)
        if name in CANCELLED:
            traffic.cancel(self.site, self.plan)
        if name == ADOPTED:  # its applier dies, and then the one that takes it over
            self.site.arm("applier", self.run.order, at_start=True)

    def _look(self, is_so: Callable[[Json], bool], audit: Json) -> None:
        def looked() -> bool:
            self.plan = traffic.plan_of(self.site, audit)
            return is_so(self.plan)

        eventually(looked, GIVE_UP_S, "the plan did not get there")

    def _await_end(self) -> None:
        def ended() -> bool:
            self.plan = traffic.get(self.site, f"/v1/action_plans/{self.plan['uuid']}")
            return self.plan["state"] in traffic.ENDED

        eventually(ended, GIVE_UP_S, "the plan has not ended")

    def _await_shot(self) -> None:
        """Some fire when the plan has ended, or at the next read of the cloud."""

        def is_over() -> bool:
            return self.shot is not None and (self.by_itself or self.resumed_at is not None)

        eventually(is_over, SHOT_LIMIT_S, "the failpoint was not reached")

    def _is_taken_over(self) -> bool:
        """Somebody else runs it, or it has ended without."""
        assert self.shot is not None
        plan = self.plan
        loser_is_second = self.shot.child == SECOND
        is_of_loser = plan["hostname"] is not None and (
            (plan["hostname"] == SECOND) == loser_is_second
        )
        return plan["state"] in traffic.ENDED or (plan["hostname"] is not None and not is_of_loser)

    def _judge_times(self, ended_at: float) -> None:
        result = self.result
        if self.resumed_at is not None:
            result.ended_s = max(0.0, ended_at - self.resumed_at)
            if result.ended_s > LIMIT_S:
                result.problems.append(
                    f"ended {result.ended_s:.1f} s after the restart or take-over"
                )
        if (result.taken_over_s or 0.0) > TAKE_OVER_LIMIT_S:
            result.problems.append(f"taken over only after {result.taken_over_s:.1f} s")

    def _wake_up(self) -> None:
        """The applier that was stopped wakes when its plan has been taken over, and does nothing."""
        assert self.shot is not None
        before = len(validators.ledger(self.site))
        self.site.continue_(self.shot.child)
        time.sleep(AFTER_WAKING_S)
        late = validators.ledger(self.site)[before:]
        if late:
            self.result.problems.append(f"the applier that woke wrote {len(late)} times: {late[0]}")


def table(results: Sequence[Result]) -> str:
    """For people."""
    lines = [
        f"{'appliers':>8}  {'failpoint':38} {'kind':6} {'plan':10} {'taken over':>10} {'ended':>7}  problems"
    ]
    lines += [
        f"{result.appliers:>8}  {result.run.failpoint:38} {result.run.kind:6} {result.plan_state:10} "
        f"{_s(result.taken_over_s):>10} {_s(result.ended_s):>7}  {'; '.join(result.problems) or 'none'}"
        for result in results
    ]
    ended = [r.ended_s for r in results if r.ended_s is not None]
    taken = [r.taken_over_s for r in results if r.taken_over_s is not None]
    lines.append(
        f"{len(results)} runs, {sum(bool(r.problems) for r in results)} with problems; longest to the end "
        f"{_s(max(ended, default=None))}, longest to a take-over {_s(max(taken, default=None))}"
    )
    return "\n".join(lines)


def _s(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"
