"""Finds plug-ins by entry point, again and again: what is installed later is loaded, what is removed is dropped.

Used by the registry. A plug-in is known by its entry point and the version of its distribution;
one that cannot be loaded is tried again at each look, since what it lacks may come.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from typing import Any, Protocol

import structlog
from oslo_config import cfg

from trimtab_common.runtime.plugin_options import groups_of, options_of
from trimtab_scoring.engine import ScoringEngine
from trimtab_scoring.watcher_style import as_container, as_engine

ENGINE_GROUPS = ("watcher_scoring_engines", "trimtab_scoring_engines")
"""Entry points of these groups name classes of engines; the first group is the requirement's (B-311)."""
CONTAINER_GROUPS = ("watcher_scoring_engine_containers", "trimtab_scoring_engine_containers")
"""Entry points of these groups name classes of containers."""

log = structlog.get_logger(__name__)


class Plugin(Protocol):
    """What is used of importlib.metadata.EntryPoint."""

    @property
    def name(self) -> str:
        """The entry point's own name, for the log."""

    def load(self) -> Any:
        """The class; what it makes is trusted to be what its group says."""


Discover = Callable[[str], Iterable[Plugin]]
"""The plug-ins of a group that are installed now."""
Configure = Callable[[str, type[Any]], Any]
"""(section, class) -> the operator's values of what the class declares, as attributes."""


def no_configuration(section: str, plugin: type[Any]) -> Any:
    """For registries without an operator's files: every option has its default."""
    return configured(cfg.ConfigOpts())(section, plugin)


def configured(conf: cfg.ConfigOpts) -> Configure:
    """Reads sections such as `[watcher_scoring_engines.NAME]` when a plug-in is loaded (A-107)."""

    def configure(section: str, plugin: type[Any]) -> Any:
        conf.register_opts(list(options_of(plugin)), group=section)
        return conf[section]

    return configure


def list_plugin_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """What installed engines and containers declare; those that cannot be loaded declare nothing."""
    found: dict[str, Sequence[cfg.Opt]] = {}
    for group in (*ENGINE_GROUPS, *CONTAINER_GROUPS):
        for entry in installed_plugins(group):
            try:
                found |= groups_of(group, {entry.name: entry.load()})
            except Exception:
                log.exception("scoring plug-in left out", plugin=entry.name)
    return list(found.items())


def installed_plugins(group: str) -> Iterable[Plugin]:
    """The entry points of this group, by name, so that the order never depends on the disk."""
    return sorted(metadata.entry_points(group=group), key=lambda entry: entry.name)


class Plugins:
    """The engines and containers of all installed plug-ins; each class is made once."""

    def __init__(
        self,
        discover: Discover = installed_plugins,
        configure: Configure = no_configuration,
    ) -> None:
        self._discover = discover
        self._configure = configure
        self._loaded: dict[tuple[str, ...], Any] = {}
        self._failing: dict[tuple[str, ...], str] = {}

    def look(self) -> tuple[list[Any], list[Any]]:
        """(engines, containers) as installed now."""
        importlib.invalidate_caches()  # so that modules installed after the start are found
        present: set[tuple[str, ...]] = set()
        engines = list(self._of(ENGINE_GROUPS, lambda made: checked(as_engine(made)), present))
        containers = list(self._of(CONTAINER_GROUPS, as_container, present))
        for gone in self._loaded.keys() - present:
            del self._loaded[gone]
            log.info("scoring plug-in withdrawn", plugin=gone[1])
        self._failing = {key: why for key, why in self._failing.items() if key in present}
        return engines, containers

    def _of(
        self, groups: Iterable[str], adapt: Callable[[Any], Any], present: set[tuple[str, ...]]
    ) -> Iterator[Any]:
        for group in groups:
            for plugin in self._discover(group):
                key = _key(group, plugin)
                present.add(key)
                if key not in self._loaded:
                    self._load(key, plugin, adapt)
                if key in self._loaded:
                    yield self._loaded[key]

    def _load(self, key: tuple[str, ...], plugin: Plugin, adapt: Callable[[Any], Any]) -> None:
        try:
            self._loaded[key] = adapt(self._made(key, plugin.load()))
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            if self._failing.get(key) != problem:  # once, not at each look
                log.exception("scoring plug-in left out", plugin=plugin.name)
            self._failing[key] = problem
        else:
            self._failing.pop(key, None)
            log.info("scoring plug-in loaded", plugin=plugin.name, group=key[0])

    def _made(self, key: tuple[str, ...], plugin: Any) -> Any:
        """An instance; one whose class declares options gets their values."""
        if not hasattr(plugin, "get_config_opts"):
            return plugin()
        return plugin(self._configure(f"{key[0]}.{key[1]}", plugin))


def checked(engine: ScoringEngine) -> ScoringEngine:
    """The engine, when it has all that one needs; what it raises otherwise says what is missing."""
    texts = (engine.name, engine.description, engine.metainfo)
    if not all(isinstance(text, str) for text in texts) or not engine.name:
        raise TypeError("name, description and metainfo of a scoring engine must be texts")
    for length in (engine.n_features, engine.n_scores):
        if length is not None and length < 1:
            raise ValueError(f"engine {engine.name}: n_features and n_scores are above 0 or None")
    return engine


def _key(group: str, plugin: Plugin) -> tuple[str, ...]:
    distribution = getattr(plugin, "dist", None)
    version = "" if distribution is None else str(distribution.version)
    return (group, plugin.name, str(getattr(plugin, "value", "")), version)
