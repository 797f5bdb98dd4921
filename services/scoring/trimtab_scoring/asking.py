"""Between the servicers and the engines: finds one, lists all, runs one; never blocks the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grpc
import structlog

from trimtab_common.runtime.sharing import Shared
from trimtab_scoring.engine import EngineBusy, ScoringEngine
from trimtab_scoring.registry import EngineRegistry
from trimtab_scoring.rooms import EngineTimedOut, Rooms
from trimtab_scoring.settings import ScoringSettings

_ALL = "all"
_LIST_TIMEOUT_S = 3.0
_ANSWER_S = 0.2
"""Of the caller's deadline, kept for the answer, so that he hears ours and not his own."""
_T = TypeVar("_T")
log = structlog.get_logger(__name__)


class Engines:
    """What both servicers use."""

    def __init__(self, registry: EngineRegistry, settings: ScoringSettings) -> None:
        self._registry = registry
        self._reload_interval_s = settings.reload_interval_s
        self._looking: Shared[str, Sequence[ScoringEngine]] = Shared()
        self._lookout = Rooms(threads=1, waiting=1, timeout_s=_LIST_TIMEOUT_S)
        self._rooms = Rooms(
            threads=settings.engine_threads,
            waiting=settings.engine_max_calls,
            timeout_s=settings.engine_timeout_s,
        )

    async def get(self, name: str) -> ScoringEngine:
        """The engine of this name; looks again for one that is not known. EngineNotFound."""
        engine = self._registry.cached(name)
        if engine is None:
            await self.list()
            engine = self._registry.get_cached(name)
        return engine

    async def list(self) -> Sequence[ScoringEngine]:
        """Every engine, by name; as of the last look when a plug-in does not answer in time.

        Those who ask while a look is under way share it.
        """
        try:
            found = await self._looking.ask(
                _ALL, lambda: self._lookout.run(_ALL, self._registry.list)
            )
        except (EngineBusy, EngineTimedOut):
            log.warning("a scoring plug-in does not tell its engines")
            return self._registry.last_seen()
        self._rooms.keep([engine.name for engine in found])
        return found

    async def run(
        self,
        engine: ScoringEngine,
        work: Callable[[], _T],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> _T:
        """The work in a thread of the engine, within the caller's deadline."""
        remaining = context.time_remaining()
        if remaining is not None:
            remaining = max(0.0, remaining - min(_ANSWER_S, remaining / 10))
        return await self._rooms.run(engine.name, work, remaining_s=remaining)

    async def follow(self) -> None:
        """Looks for ever for engines that come and go."""
        while True:
            await self.list()
            await asyncio.sleep(self._reload_interval_s)
