"""Looks whether what a scope names is there: when it is stored (C-092), and now and then (C-093).

A host, zone, aggregate, server, pool or project that is gone makes an audit see less than its author
meant. That is told in the log, of a new scope by a notification too, and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from trimtab_common.domain.element_scope import rules_of, scoped_baremetal, scoped_storage
from trimtab_common.domain.errors import InvalidArgument, NotFound, TrimtabError
from trimtab_common.domain.lifecycle import AuditState
from trimtab_common.domain.records import Audit, AuditTemplate
from trimtab_common.domain.scope import compute_rules, scoped
from trimtab_common.store import Query, Store
from trimtab_decision.collector_elements import ElementsReader
from trimtab_decision.model import ModelSource

log = structlog.get_logger(__name__)
LIVE = (AuditState.PENDING, AuditState.ONGOING, AuditState.SUSPENDED)
_ELEMENTS = {"storage": scoped_storage, "baremetal": scoped_baremetal}


class ScopeChecks:
    """Compares scopes with the models that there are now; nothing is said of a model without content."""

    def __init__(self, *, store: Store, model: ModelSource, elements: ElementsReader) -> None:
        self._store = store
        self._model = model
        self._elements = elements

    async def check(self, uuid: str) -> tuple[str, ...]:
        """What is wrong with the scope of one audit or template, told in log and notification."""
        one = await self._find(uuid)
        problems = () if one is None else await self._problems(one)
        if one is not None and problems:
            _tell(one, problems)
            await self._store.transact(
                lambda session: session.announcer.scope_names_nothing(one, problems)
            )
        return problems

    async def check_all(self) -> Mapping[str, tuple[str, ...]]:
        """What is wrong with which template or live audit, by its uuid, told in the log."""
        async with self._store.read() as session:
            templates = await session.audit_templates.list()
            audits = await session.audits.list(Query(filters={"state__in": LIVE}))
        found = {}
        stored: list[Audit | AuditTemplate] = [*templates, *audits]
        for one in stored:
            problems = await self._problems(one)
            if problems:
                found[one.uuid] = problems
                _tell(one, problems)
        return found

    async def _find(self, uuid: str) -> Audit | AuditTemplate | None:
        async with self._store.read() as session:
            for table in (session.audits, session.audit_templates):
                try:
                    return await table.get(uuid)
                except NotFound:
                    continue
        return None

    async def _problems(self, one: Audit | AuditTemplate) -> tuple[str, ...]:
        try:
            found: list[str] = []
            if compute_rules(one.scope) and self._model.ready:
                snapshot = self._model.snapshot()
                found += scoped(snapshot, one.scope, check_optimize_metadata=True).warnings
            for kind, cut in _ELEMENTS.items():
                if rules_of(one.scope, kind):
                    found += cut(await self._elements.read(kind, ()), one.scope).warnings
        except InvalidArgument as error:
            return (error.message,)
        except TrimtabError as error:
            log.info("scope not looked at", uuid=one.uuid, problem=error.message)
            return ()
        return tuple(found)


def _tell(one: Audit | AuditTemplate, problems: tuple[str, ...]) -> None:
    log.warning(
        "a scope names what is not there",
        kind="audit" if isinstance(one, Audit) else "audit template",
        uuid=one.uuid,
        name=one.name,
        problems=list(problems),
    )
