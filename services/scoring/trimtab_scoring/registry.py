"""Which engines there are: the built-in list, then plug-ins by entry point, then containers, then remote ones.

A plug-in that cannot be loaded, or an engine whose name is taken (B-314), is left out with an
error in the log: one bad plug-in must not take the others down. Listing looks again at what is
installed and what containers offer, so engines come and go without a restart (B-311).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import structlog

from trimtab_common.domain.errors import NotFound
from trimtab_scoring.discovery import (
    Configure,
    Discover,
    Plugins,
    checked,
    installed_plugins,
    no_configuration,
)
from trimtab_scoring.engine import ScoringEngine, ScoringEngineContainer
from trimtab_scoring.engines import builtin_containers, builtin_engines

_LOOK_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


class EngineNotFound(NotFound):
    """No engine has this name."""

    reason = "SCORING_ENGINE_NOT_FOUND"


class EngineRegistry:
    """Finds engines by name. `get` is cheap; `list` reads the disk and calls plug-ins: use a thread."""

    def __init__(
        self,
        *,
        engines: Iterable[ScoringEngine] | None = None,
        containers: Iterable[ScoringEngineContainer] | None = None,
        plugins: Discover = installed_plugins,
        more: Iterable[ScoringEngineContainer] = (),
        configure: Configure = no_configuration,
    ) -> None:
        """`more`: containers beside the built-in ones, such as the remote engines."""
        self._engines = tuple(builtin_engines() if engines is None else engines)
        self._containers = (*(builtin_containers() if containers is None else containers), *more)
        self._plugins = Plugins(plugins, configure)
        self._by_name: dict[str, ScoringEngine] = {}
        self._refused: set[str] = set()
        self._looking = threading.Lock()
        self.list()

    def get(self, name: str) -> ScoringEngine:
        """The engine of this name; EngineNotFound when neither cached nor offered now."""
        if self.cached(name) is None:
            self.list()
        return self.get_cached(name)

    def get_cached(self, name: str) -> ScoringEngine:
        """The engine of this name as of the last look; EngineNotFound."""
        engine = self.cached(name)
        if engine is None:
            known = ", ".join(sorted(self._by_name))
            raise EngineNotFound(
                f"Scoring engine {name} could not be found. Known engines: {known}."
            )
        return engine

    def cached(self, name: str) -> ScoringEngine | None:
        """The engine of this name as of the last look; never calls other people's code."""
        return self._by_name.get(name)

    def list(self) -> Sequence[ScoringEngine]:
        """Every engine, sorted by name, looking again; as of the last look while one hangs."""
        if not self._looking.acquire(timeout=_LOOK_TIMEOUT_S):
            log.error("a scoring plug-in does not answer when asked for its engines")
            return self.last_seen()
        try:
            found: dict[str, ScoringEngine] = {}
            refused: set[str] = set()
            for engine in self._offered():
                name = engine.name
                if name in found:
                    refused.add(name)
                else:
                    found[name] = engine
            for name in refused - self._refused:
                log.error("scoring engine left out: its name is taken", engine=name)
            self._refused = refused
            self._by_name = found
        finally:
            self._looking.release()
        return self.last_seen()

    def last_seen(self) -> Sequence[ScoringEngine]:
        """Every engine, sorted by name, as of the last look; never calls other people's code."""
        return [engine for _, engine in sorted(self._by_name.items())]

    def _offered(self) -> Iterable[ScoringEngine]:
        yield from self._engines
        engines, containers = self._plugins.look()
        yield from engines
        for container in (*self._containers, *containers):
            try:
                offered = tuple(checked(engine) for engine in container.engines())
            except Exception:
                log.exception("scoring engine container left out", container=repr(container))
            else:
                yield from offered
