"""Follows one volume that Cinder moves or retypes, from the request to its end.

What has been done is looked for before anything is asked, so that the same steps start a move and
resume one after a crash. The volume tells all: Cinder marks it before it answers the request.
"""

from __future__ import annotations

import structlog

from trimtab_applier.actions.asking import Asking
from trimtab_applier.actions.contract import ActionContext
from trimtab_applier.errors import ActionFailed
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.openstack.cinder_writes import VolumeView

log = structlog.get_logger(__name__)
UNDER_WAY = frozenset({"starting", "migrating", "completing", "deleting"})
"""Cinder's migration_status of a volume on its way."""
RETYPING, ERROR = "retyping", "error"
SETTLED = frozenset({"available", "in-use"})
LONGEST_PAUSE_S = 10.0
CLEARED_WITHIN_S = 1200.0
"""The source of a copy is deleted within this (B-254: 120 looks, 10 s apart)."""


class VolumeMove:
    """One move of one volume, as the intent describes it."""

    def __init__(self, context: ActionContext, volume: str) -> None:
        self._context = context
        self._volume = volume
        intent = context.intent
        self._target = str(intent["target"])
        self._is_retype = intent["way"] == "retype"
        self._prior_error = intent.get("prior_migration_status") == ERROR
        cinder = context.cinder
        ask = cinder.retype if self._is_retype else cinder.migrate
        self._asking = Asking(context, lambda: ask(volume, self._target))
        self._was_seen = False

    async def run(self, *, is_new: bool) -> bool:
        """Asks if that was not done before, and follows the volume to its end; True: it is there.

        Raises:
            ActionFailed: it is not, and why.
        """
        clock, limit_s = self._context.clock, self._context.limits.volume_timeout_s
        began = clock.monotonic()
        view: VolumeView | None = None
        if is_new:
            await self._asking.ask()
            self._was_seen = self._asking.is_accepted
        while clock.monotonic() - began < limit_s:
            look = await self._look()
            if look is not None:
                view = look
                if await self._is_there(view):
                    self._context.found(pool=view.pool, type=view.type)
                    await self._until_cleared()
                    return True
            await clock.sleep(self._pause(began))
        raise ActionFailed(
            f"The move of volume {self._volume} did not end within {limit_s:g} s, Cinder shows "
            f"{_shown(view)}"
        )

    def _pause(self, began: float) -> float:
        """A tenth of what it took so far: small volumes are seen at once, large ones seldom."""
        limits = self._context.limits
        waited_s = self._context.clock.monotonic() - began
        return min(max(limits.poll_s, waited_s / 10), max(LONGEST_PAUSE_S, limits.poll_s))

    async def _look(self) -> VolumeView | None:
        """The volume; None when Cinder did not answer, which says nothing of it."""
        try:
            view = await self._context.cinder.volume(self._volume)
        except TrimtabError as error:
            log.warning("volume not seen", volume=self._volume, problem=error.message)
            return None
        if view is None:
            raise ActionFailed(f"Volume {self._volume} is gone")
        return view

    async def _is_there(self, view: VolumeView) -> bool:
        """Whether the move is done; asks again what left no trace."""
        is_moving = view.migration_status in UNDER_WAY or view.status == RETYPING
        self._was_seen = self._was_seen or is_moving
        if is_moving:
            return False
        if (view.type if self._is_retype else view.pool) == self._target:
            return view.status in SETTLED
        if view.migration_status == ERROR and (self._was_seen or not self._prior_error):
            raise ActionFailed(f"Cinder could not move it: {_shown(view)}")
        if self._was_seen and view.status in SETTLED:
            raise ActionFailed(f"Cinder gave it up: {_shown(view)}")
        if view.status.startswith(ERROR):
            raise ActionFailed(f"Volume {self._volume} is in error: {_shown(view)}")
        await self._asking.found_no_trace()
        return False

    async def _until_cleared(self) -> None:
        """Returns when Cinder has deleted what it copied from."""
        clock = self._context.clock
        began = clock.monotonic()
        while True:
            try:
                left = await self._context.cinder.shadow_of(self._volume)
            except TrimtabError as error:
                log.warning("volumes not seen", volume=self._volume, problem=error.message)
            else:
                if left is None:
                    return
                if clock.monotonic() - began > CLEARED_WITHIN_S:
                    raise ActionFailed(
                        f"Volume {self._volume} has moved, but Cinder did not delete what is left "
                        f"of it in the old pool: volume {left}"
                    )
            if clock.monotonic() - began > CLEARED_WITHIN_S:
                return
            await clock.sleep(self._pause(began))


def _shown(view: VolumeView | None) -> str:
    if view is None:
        return "nothing"
    return (
        f"volume {view.uuid} {view.status} in pool {view.pool or 'none'}, type "
        f"{view.type or 'none'}, migration status {view.migration_status or 'none'}"
    )
