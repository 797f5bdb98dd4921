"""Which engines there are: the built-in list, then plug-ins by entry point, then containers.

A plug-in that cannot be loaded, or that takes a name already taken (B-314), is left out with an
error in the log: one bad plug-in must not take the others down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Any, Protocol

import structlog

from trimtab_common.domain.errors import NotFound
from trimtab_scoring.engine import ScoringEngine, ScoringEngineContainer
from trimtab_scoring.engines import builtin_containers, builtin_engines

ENGINE_GROUP = "trimtab_scoring_engines"
"""Entry points of this group name classes of ScoringEngine."""
CONTAINER_GROUP = "trimtab_scoring_engine_containers"
"""Entry points of this group name classes of ScoringEngineContainer."""

log = structlog.get_logger(__name__)


class EngineNotFound(NotFound):
    """No engine has this name."""

    reason = "SCORING_ENGINE_NOT_FOUND"


class Plugin(Protocol):
    """What is used of importlib.metadata.EntryPoint."""

    @property
    def name(self) -> str:
        """The entry point's own name, for the log."""

    def load(self) -> Any:
        """The class; what it makes is trusted to be what its group says."""


def installed_plugins(group: str) -> Iterable[Plugin]:
    """The entry points of this group, by name, so that the order never depends on the disk."""
    return sorted(metadata.entry_points(group=group), key=lambda entry: entry.name)


class EngineRegistry:
    """Finds engines by name. Classes are loaded once; containers are asked on each `list`."""

    def __init__(
        self,
        *,
        engines: Iterable[ScoringEngine] | None = None,
        containers: Iterable[ScoringEngineContainer] | None = None,
        plugins: Callable[[str], Iterable[Plugin]] = installed_plugins,
    ) -> None:
        self._engines = [
            *(builtin_engines() if engines is None else engines),
            *_load(plugins(ENGINE_GROUP)),
        ]
        self._containers = [
            *(builtin_containers() if containers is None else containers),
            *_load(plugins(CONTAINER_GROUP)),
        ]
        self._by_name: dict[str, ScoringEngine] = {}
        self.list()

    def get(self, name: str) -> ScoringEngine:
        """The engine of this name; EngineNotFound when neither cached nor offered now."""
        if name not in self._by_name:
            self.list()
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(sorted(self._by_name))
            raise EngineNotFound(
                f"Scoring engine {name} could not be found. Known engines: {known}."
            ) from None

    def list(self) -> Sequence[ScoringEngine]:
        """Every engine, sorted by name, asking the containers again."""
        found: dict[str, ScoringEngine] = {}
        for engine in self._offered():
            if engine.name in found:
                log.error("scoring engine left out: its name is taken", engine=engine.name)
            else:
                found[engine.name] = engine
        self._by_name = found
        return [found[name] for name in sorted(found)]

    def _offered(self) -> Iterable[ScoringEngine]:
        yield from self._engines
        for container in self._containers:
            try:
                offered = tuple(container.engines())
            except Exception:
                log.exception("scoring engine container left out", container=repr(container))
            else:
                yield from offered


def _load(plugins: Iterable[Plugin]) -> Iterable[Any]:
    for plugin in plugins:
        try:
            loaded = plugin.load()()
        except Exception:
            log.exception("scoring plug-in left out", plugin=plugin.name)
        else:
            yield loaded
