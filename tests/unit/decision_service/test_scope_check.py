"""Stored scopes are looked at again when the cloud may have changed."""

from datetime import UTC, datetime

import pytest

from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.lifecycle import AuditState
from trimtab_common.domain.records import AuditTemplate
from trimtab_decision.errors import CollectorUnreachable
from trimtab_decision.scope_check import ScopeChecks

GONE = [{"compute": [{"exclude": [{"compute_nodes": [{"name": "gone"}]}]}]}]
HERE = [{"compute": [{"exclude": [{"compute_nodes": [{"name": "host-a"}]}]}]}]


class Elements:
    """One storage pool and no ironic node."""

    is_down = False

    async def read(self, _kind, scope):
        assert scope == ()
        if self.is_down:
            raise CollectorUnreachable("no answer")
        return ElementSnapshot(
            epoch="e", revision=1, taken_at=datetime(2026, 1, 1, tzinfo=UTC), rows={}
        )

    async def problems(self):
        return {}


async def warnings_of(world):
    async with world.store.read() as session:
        rows = await session.outbox.unpublished(500)
    return [
        (row.priority, row.payload["watcher_object.data"])
        for row in rows
        if row.event_type == "scope.warning"
    ]


@pytest.mark.req("C-092")
async def test_a_new_scope_that_names_what_is_not_there_is_told_by_notification(world):
    elements = Elements()
    checks = ScopeChecks(store=world.store, model=world.model, elements=elements)
    audit = await world.add_audit(
        scope=[
            {
                "compute": [
                    {"availability_zones": [{"name": "az9"}], "host_aggregates": [{"id": 9}]},
                    {"exclude": [{"projects": [{"uuid": "p9"}], "instances": [{"uuid": "s9"}]}]},
                ]
            },
            {"storage": [{"exclude": [{"storage_pools": [{"name": "a@b#c"}]}]}]},
            {"baremetal": [{"exclude": [{"ironic_nodes": [{"uuid": "n9"}]}]}]},
        ]
    )
    fine = await world.add_audit(scope=HERE)
    problems = await checks.check(audit.uuid)
    for named in ("az9", "aggregate 9", "p9", "s9", "a@b#c", "n9"):
        assert any(named in problem for problem in problems), named
    ((priority, told),) = await warnings_of(world)
    assert priority == "WARN"
    assert told == {
        "kind": "audit",
        "uuid": audit.uuid,
        "name": audit.name,
        "problems": list(problems),
    }
    assert await checks.check(fine.uuid) == ()
    assert await checks.check("6d3ad7b5-0000-4000-8000-000000000000") == ()
    elements.is_down = True
    assert await checks.check(audit.uuid) == ()
    assert len(await warnings_of(world)) == 1


@pytest.mark.req("C-093")
async def test_stored_scopes_that_name_what_is_gone_are_told(world):
    audit = await world.add_audit(scope=GONE)
    await world.add_audit(scope=HERE)
    await world.add_audit(scope=GONE, state=AuditState.SUCCEEDED)
    async with world.store.write() as session:
        goal = await session.goals.get("dummy")
        template = await session.audit_templates.create(
            AuditTemplate(uuid="", name="t", goal_id=goal.id, scope=GONE)
        )
    missing = ("Compute node gone is not in the model.",)
    checks = ScopeChecks(store=world.store, model=world.model, elements=Elements())
    assert await checks.check_all() == {
        template.uuid: missing,
        audit.uuid: missing,
    }
    world.model.now = None
    assert await checks.check_all() == {}
