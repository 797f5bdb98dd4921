"""The errors of the applier.

TrimtabError
├── ActionSkipped      pre_condition found nothing to do
├── ActionFailed       an action could not do its work, and says why
│   └── FactsChanged   what it relies on is so no more
├── PlanGraphInvalid   parents that name nothing, or a cycle
├── PlanStale          the cloud is not as the plan found it: nothing was begun
├── PlanInterrupted    the plan is no longer ONGOING: start nothing
└── LeaseLost          another applier may own the plan: write nothing, neither record nor cloud
"""

from __future__ import annotations

from collections.abc import Sequence

from trimtab_common.domain.errors import Code, TrimtabError

MAX_STATUS_MESSAGE = 255
_SINCE_PLAN, _SINCE_DONE = "since the plan was made", "since the action was done"
_PLAN_AGAIN = "Create the audit again."
_BY_HAND = "It is left alone; undo it by hand if that is still wanted."


class ActionSkipped(TrimtabError):
    """Raised by pre_condition when the action need not or cannot be done any more."""

    reason = "ACTION_SKIPPED"
    code = Code.FAILED_PRECONDITION


class ActionFailed(TrimtabError):
    """The action did not reach its goal; the text becomes part of its status message."""

    reason = "ACTION_FAILED"
    code = Code.FAILED_PRECONDITION


class FactsChanged(ActionFailed):
    """What an action relies on is so no more."""

    reason = "FACTS_CHANGED"

    def when_undoing(self) -> ActionFailed:
        """The same said of an action that was to undo another: no audit makes that again."""
        return ActionFailed(
            self.message.replace(_SINCE_PLAN, _SINCE_DONE).replace(_PLAN_AGAIN, _BY_HAND)
        )


class PlanGraphInvalid(TrimtabError):
    """The parents of a plan's actions make no acyclic graph."""

    reason = "PLAN_GRAPH_INVALID"
    code = Code.FAILED_PRECONDITION


class PlanStale(TrimtabError):
    """What the plan relies on changed between its making and its start."""

    reason = "PLAN_STALE"
    code = Code.FAILED_PRECONDITION


class PlanInterrupted(TrimtabError):
    """The record no longer shows the plan as ONGOING."""

    reason = "PLAN_INTERRUPTED"
    code = Code.ABORTED


class LeaseLost(TrimtabError):
    """The right to work on the plan has ended or is about to."""

    reason = "LEASE_LOST"
    code = Code.ABORTED


def check_facts(changes: Sequence[str], what: str) -> None:
    """Raises FactsChanged when the plan relied on what is so no more."""
    if changes:
        raise FactsChanged(f"{what} changed {_SINCE_PLAN}: {'; '.join(changes)}. {_PLAN_AGAIN}")


def why(error: BaseException) -> str:
    """The part of an error that a status message may show (B-273).

    Our own errors were written for people; of foreign ones only the class is told, because
    their text may hold anything.
    """
    return error.message if isinstance(error, TrimtabError) else type(error).__name__


def status_message(text: str) -> str:
    """The text, cut to what the column holds."""
    return text if len(text) <= MAX_STATUS_MESSAGE else text[: MAX_STATUS_MESSAGE - 1] + "…"
