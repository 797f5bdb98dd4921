"""What an action plug-in is: a class per action type, an object per action that runs.

The runner calls `pre_condition`, commits ONGOING with what the plug-in intends, then calls
`execute` and `post_condition`. After a crash or a take-over it calls `resume` for an action that
was ONGOING; with the plan being cancelled it calls `abort`.

Outside plug-ins are named by entry points in the group `trimtab_actions`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from trimtab_applier.moves import MoveWatcher
from trimtab_applier.settings import NovaSettings
from trimtab_common.domain.records import Json
from trimtab_common.openstack.cinder_writes import CinderWrites
from trimtab_common.openstack.nova_writes import NovaWrites
from trimtab_common.openstack.power_writes import PowerWrites
from trimtab_common.runtime.clock import Clock

T = TypeVar("T")


class ActionContext(Protocol):
    """What a running action is given."""

    @property
    def uuid(self) -> str:
        """Of the action."""
        ...

    @property
    def parameters(self) -> Mapping[str, Json]:
        """The checked input parameters."""
        ...

    @property
    def intent(self) -> Mapping[str, Json]:
        """What is committed about what this action is about to do; after a crash, too."""
        ...

    @property
    def facts(self) -> Mapping[str, Json]:
        """What the plan relied on; empty when its strategy stored nothing."""
        ...

    @property
    def is_settled(self) -> bool:
        """Whether no request of an earlier, dead runner of this action can still be on its way."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def nova(self) -> NovaWrites:
        """The compute service."""
        ...

    @property
    def cinder(self) -> CinderWrites:
        """The block storage service. ActionFailed where there is none."""
        ...

    @property
    def power(self) -> PowerWrites:
        """What switches machines. ActionFailed where there is nothing."""
        ...

    async def reread(self, kind: str, uuid: str) -> None:
        """Has collector look at one element of a model again soon; never raises."""
        ...

    @property
    def moves(self) -> MoveWatcher:
        """Watches servers that move."""
        ...

    @property
    def limits(self) -> NovaSettings:
        """How long things may take."""
        ...

    def intend(self, **facts: Json) -> None:
        """Adds to the intent that is committed together with ONGOING; for pre_condition."""
        ...

    async def commit_intent(self, **facts: Json) -> None:
        """Adds to the intent and commits it now; for steps after the first cloud write."""
        ...

    def found(self, **facts: Json) -> None:
        """Adds to the result that is committed together with the final state."""
        ...

    async def run_inverse(self) -> bool:
        """Runs what `domain.inverses` knows to undo this action, as an action of its own; for revert.

        Raises:
            ActionSkipped: there is nothing to undo, or no way to.
        """
        ...

    async def write(self, call: Callable[[], Awaitable[T]]) -> T:
        """Makes one write to the cloud, only while the lease lasts for the write's own timeout.

        Raises:
            LeaseLost: it does not.
        """
        ...


class ActionPlugin(ABC):
    """One action type. Subclasses set the class variables and the methods they need."""

    action_type: ClassVar[str]
    description: ClassVar[str]
    schema: ClassVar[Mapping[str, Any]]
    """JSON schema (draft 4) of the input parameters; additional keys forbidden."""

    def __init__(self, context: ActionContext) -> None:
        self.context = context

    @classmethod
    def lanes(cls, parameters: Mapping[str, Json]) -> tuple[str, ...]:
        """What this action uses that may be limited: "move", "out:<host>", "in:<host>"."""
        del parameters
        return ()

    @classmethod
    def is_abortable(cls, parameters: Mapping[str, Json]) -> bool:
        """Whether `abort` can stop an action with these parameters."""
        del parameters
        return False

    async def pre_condition(self) -> None:  # noqa: B027, most types need one, none must
        """Looks whether the action can run; changes nothing.

        Raises:
            ActionSkipped: there is nothing to do any more.
        """

    @abstractmethod
    async def execute(self) -> bool:
        """Does the work. Only True is success."""

    async def resume(self) -> bool:
        """Goes on after a crash: looks first at what has been done. Default: does it again."""
        return await self.execute()

    async def post_condition(self) -> None:  # noqa: B027, few types need one
        """Looks whether the work holds; an exception makes the action FAILED."""

    async def abort(self) -> bool:
        """Undoes what `execute` began and was stopped in. False: it is done, too late.

        Only called when `is_abortable`. An exception makes the action, and the cancelling, FAILED.
        """
        return False

    async def revert(self) -> bool:
        """Undoes a SUCCEEDED action of a plan that failed. Only True is success (B-300).

        Called again after a crash, so it looks first; what it commits by `commit_intent` is there
        then. Default: what is known to undo this type. ActionSkipped: nothing is.
        """
        return await self.context.run_inverse()
