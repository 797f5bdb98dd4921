"""A whole api service in process over a real store; everything that varies is fixed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from trimtab_api.auth import Identity, NoAuth
from trimtab_api.ports import Deps, ModelStatus, RolledBack, StrategyRequirement
from trimtab_api.rest import RestApi
from trimtab_api.scopes import SCHEMAS
from trimtab_common.domain import element_scope, elements, records
from trimtab_common.domain.baremetal import BaremetalNodeRow, PowerState
from trimtab_common.domain.errors import Unauthenticated, Unavailable
from trimtab_common.domain.lifecycle import ActionState, AuditState, AuditType, PlanState
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.domain.storage import Attachment, PoolRow, StorageNodeRow, VolumeRow
from trimtab_common.runtime.clock import FakeClock
from trimtab_common.store import Store
from trimtab_decision.rollback import Rollbacks

AUTHORITY = "trimtab.test:9322"
START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def stable_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


@dataclass
class RecordingWaker:
    woken: list[tuple[str, str]] = field(default_factory=list)

    def check_scope(self, uuid: str) -> None:
        self.woken.append(("scope", uuid))

    def wake_audit(self, uuid: str) -> None:
        self.woken.append(("audit", uuid))

    def wake_plan(self, uuid: str) -> None:
        self.woken.append(("plan", uuid))


@dataclass
class FakeDecision:
    """Knows one strategy; others make it fall silent, unless it knows all."""

    knows_all: bool = False

    async def state_of(self, strategy: str) -> list[StrategyRequirement]:
        if strategy != "dummy" and not self.knows_all:
            raise Unavailable("The decision service does not answer. Check that it runs.")
        text = "Datasource is not presented for this strategy"
        models = [{"compute_model": "available"}]
        return [
            StrategyRequirement(type="Datasource", state=text, mandatory=True, comment=""),
            StrategyRequirement(type="CDM", state=models, mandatory=True, comment=""),
            StrategyRequirement(type="Name", state=strategy, mandatory=False, comment=""),
        ]


@dataclass
class RealRollbacks:
    """Decision's own rules in process, without the wire."""

    inner: Rollbacks

    async def roll_back(self, plan_uuid: str, actions: Sequence[str]):
        plan, report = await self.inner.roll_back(plan_uuid, actions)
        return plan.uuid, [
            RolledBack(action_uuid=one.action, inverse_uuid=one.inverse, problem=one.problem)
            for one in report
        ]


STORAGE = elements.ElementSnapshot(
    epoch="e",
    revision=1,
    taken_at=START,
    rows={
        "storage_node": (StorageNodeRow(host="box@ssd", zone="nova", volume_types=("fast",)),),
        "pool": (
            PoolRow(name="box@ssd#full", volumes=1, total_gb=100.0, free_gb=None),
            PoolRow(name="box@ssd#empty", total_gb=200.0, free_gb=200.0, virtual_free_gb=200.0),
        ),
        "volume": (
            VolumeRow(
                uuid="6e1a5a4e-0000-4000-8000-000000000001",
                name="data",
                size_gb=10,
                status="in-use",
                pool="box@ssd#full",
                attachments=(Attachment("6e1a5a4e-0000-4000-8000-000000000002", "a1"),),
                project_id="p1",
                volume_type="fast",
            ),
        ),
        "volume_type": (),
    },
)
BAREMETAL = elements.ElementSnapshot(
    epoch="e",
    revision=1,
    taken_at=START,
    rows={
        "baremetal_node": (
            BaremetalNodeRow(
                uuid="6e1a5a4e-0000-4000-8000-000000000003",
                human_id="rack-1",
                power_state=PowerState.ON,
                power_text="power on",
            ),
        )
    },
)
SCOPED = {
    "storage": element_scope.scoped_storage,
    "baremetal": element_scope.scoped_baremetal,
}


@dataclass
class FakeCollector:
    """Gives the model it holds, or does not answer."""

    model: ComputeSnapshot | None = None
    holds: tuple[str, ...] = ("compute", "storage", "baremetal")
    is_down: bool = False

    async def statuses(self) -> list[ModelStatus]:
        if self.is_down:
            raise Unavailable("The collector service does not answer. Check that it runs.")
        return [
            ModelStatus(
                kind="compute",
                hosts=2,
                servers=3,
                synced_at=START,
                changed_at=None,
                partial=False,
                stale_reason="",
            )
        ]

    async def scope_schemas(self) -> dict[str, Any]:
        return {} if self.is_down else {kind: SCHEMAS[kind] for kind in self.holds}

    async def compute(self) -> ComputeSnapshot | None:
        if self.is_down:
            raise Unavailable("The collector service does not answer. Check that it runs.")
        return self.model

    async def elements(self, kind: str, scope: Sequence[Any]) -> elements.ElementSnapshot | None:
        if self.is_down:
            raise Unavailable("The collector service does not answer. Check that it runs.")
        if self.model is None:
            return None
        snapshot = STORAGE if kind == "storage" else BAREMETAL
        return SCOPED[kind](snapshot, scope).snapshot


class TokenAuth:
    """Three tokens: admin, service, member."""

    async def identify(self, headers) -> Identity:
        token = headers.get("x-auth-token", "")
        if token not in ("admin", "service", "member"):
            raise Unauthenticated(
                "The request you have made requires authentication.",
                challenge='Keystone uri="http://keystone.test/v3"',
            )
        return Identity(user_id=token, roles=frozenset({token}))


@dataclass
class World:
    """One api service, its store and everything it talks to."""

    api: RestApi
    deps: Deps
    clock: FakeClock
    store: Store
    waker: RecordingWaker
    collector: FakeCollector
    authenticator: NoAuth | TokenAuth


def small_model() -> ComputeSnapshot:
    """Two hosts, the second first by uuid; two servers on one, one on no host."""
    uuids = sorted(stable_uuid(f"server-{n}") for n in range(3))
    return ComputeSnapshot(
        epoch="e",
        revision=1,
        taken_at=START,
        host_uuid=("22222222-0000-4000-8000-000000000000", "11111111-0000-4000-8000-000000000000"),
        host_name=("alpha", "beta"),
        host_inventory=np.array([[16, 65536, 500], [8, 32768, 250]], dtype=np.int64),
        host_reserved=np.array([[1, 512, 0], [0, 512, 10]], dtype=np.int64),
        host_ratio=np.array([[16.0, 1.5, 1.0], [4.0, 1.0, 1.0]]),
        host_up=np.array([True, False]),
        host_enabled=np.array([True, False]),
        host_disabled_reason=(None, "broken fan"),
        host_zone=np.array([0, 0], dtype=np.int32),
        server_uuid=np.array([list(uuid.UUID(u).bytes) for u in uuids], dtype=np.uint8),
        server_name=("web", "db", "lost"),
        server_host=np.array([0, 0, -1], dtype=np.int32),
        server_demand=np.array([[2, 4096, 20], [4, 8192, 40], [1, 512, 1]], dtype=np.int64),
        server_state=np.array([1, 5, 1], dtype=np.int8),
        server_locked=np.array([False, True, False]),
        server_excluded=np.array([False, False, False]),
        server_project=np.array([0, 0, 0], dtype=np.int32),
        projects=("p1",),
        zones=("nova",),
        server_metadata={0: {"optimize": "True"}},
        server_pinned_zone={0: "az1"},
        server_extra_specs={0: {"hw:cpu_policy": "dedicated"}},
    )


async def fill(store: Store, given: dict[str, Any]) -> None:
    """Puts goals and strategies into the record, then what the dialogue is given."""
    async with store.write() as s:
        goals = {}
        for name, shown in (("dummy", "Dummy goal"), ("server_consolidation", "Consolidation")):
            specification = [{"name": "released", "description": "d", "unit": "%", "schema": "{}"}]
            goals[name] = await s.goals.create(
                records.Goal(
                    uuid=stable_uuid(f"goal {name}"),
                    name=name,
                    display_name=shown,
                    efficacy_specification=specification,
                )
            )
        strategies = {}
        parameters_spec = {
            "properties": {
                "para1": {"type": "number", "default": 3.2, "minimum": 1.0, "maximum": 10.2},
                "para2": {"type": "string", "default": "hello"},
            }
        }
        for name, goal, spec in (
            ("dummy", "dummy", parameters_spec),
            ("dummy_bare", "dummy", {}),
            ("basic", "server_consolidation", {}),
        ):
            strategies[name] = await s.strategies.create(
                records.Strategy(
                    uuid=stable_uuid(f"strategy {name}"),
                    name=name,
                    display_name=f"{name} strategy",
                    goal_id=goals[goal].id,
                    parameters_spec=spec,
                )
            )
        await s.scoring_engines.create(
            records.ScoringEngine(
                uuid=stable_uuid("dummy_scorer"),
                name="dummy_scorer",
                description="Dummy scorer",
                metainfo="{}",
            )
        )
        for name, host in (("watcher-applier", "alpha"), *given.get("services", ())):
            await s.services.beat(name, host)
        await s.action_descriptions.sync({"nop": "Do nothing", "sleep": "Wait"})
        audits = {}
        for item in given.get("audits", ()):
            audits[item["name"]] = await s.audits.create(
                records.Audit(
                    uuid=stable_uuid(f"audit {item['name']}"),
                    name=item["name"],
                    audit_type=AuditType(item.get("audit_type", "ONESHOT")),
                    state=AuditState(item.get("state", "PENDING")),
                    goal_id=goals[item.get("goal", "dummy")].id,
                    strategy_id=strategies[item.get("strategy", "dummy")].id,
                    interval=item.get("interval"),
                    scope=item.get("scope", []),
                    next_run_time=START if item.get("is_scheduled") else None,
                )
            )
        for item in given.get("plans", ()):
            plan = await s.action_plans.create(
                records.ActionPlan(
                    uuid=stable_uuid(f"plan {item['name']}"),
                    audit_id=audits[item["audit"]].id,
                    strategy_id=strategies["dummy"].id,
                    state=PlanState(item.get("state", "RECOMMENDED")),
                    global_efficacy=item.get("global_efficacy", []),
                    efficacy_indicators=tuple(
                        records.EfficacyIndicator(
                            uuid=stable_uuid(f"{item['name']} {one['name']}"), **one
                        )
                        for one in item.get("indicators", ())
                    ),
                )
            )
            parents: tuple[str, ...] = ()
            for number, state in enumerate(item.get("actions", ())):
                did = item["did"][number] if "did" in item else {}
                action = await s.actions.create(
                    records.Action(
                        uuid=stable_uuid(f"{item['name']} action {number}"),
                        action_plan_id=plan.id,
                        action_type=did.get("type", "sleep" if number % 2 else "nop"),
                        state=ActionState(state),
                        intent=did.get("intent"),
                        input_parameters={
                            "message": f"action {number}",
                            **({"resource_id": item["on"][number]} if "on" in item else {}),
                            **did.get("parameters", {}),
                        },
                        parents=parents,
                    )
                )
                parents = (action.uuid,)
