"""Which rules each typed RPC asks, for the sample of the policy file (A-034).

The RPCs ask them themselves, through the gate; a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping

AUDIT = "trimtab.audit.v1.AuditService"
TEMPLATE = "trimtab.audit.v1.AuditTemplateService"
CATALOG = "trimtab.catalog.v1.CatalogService"
OPS = "trimtab.ops.v1.OpsService"
PLAN = "trimtab.plan.v1.PlanService"

TYPED_RULES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    AUDIT: {
        "CreateAudit": ("audit:create",),
        "GetAudit": ("audit:get",),
        "ListAudits": ("audit:get_all",),
        "UpdateAudit": ("audit:update",),
        "DeleteAudit": ("audit:delete",),
        "CancelAudit": ("audit:update",),
        "SuspendAudit": ("audit:update",),
        "ResumeAudit": ("audit:update",),
        "TriggerAudit": ("webhook:trigger",),
        "WatchAudits": ("audit:get_all",),
    },
    TEMPLATE: {
        "ListAuditTemplates": ("audit_template:get_all",),
        "GetAuditTemplate": ("audit_template:get",),
        "CreateAuditTemplate": ("audit_template:create",),
        "UpdateAuditTemplate": ("audit_template:update",),
        "DeleteAuditTemplate": ("audit_template:delete",),
    },
    CATALOG: {
        "ListGoals": ("goal:get_all",),
        "GetGoal": ("goal:get",),
        "ListStrategies": ("strategy:get_all",),
        "GetStrategy": ("strategy:get",),
        "GetStrategyState": ("strategy:state",),
        "ListScoringEngines": ("scoring_engine:get_all",),
        "GetScoringEngine": ("scoring_engine:get",),
    },
    OPS: {
        "ListServices": ("service:get_all",),
        "GetService": ("service:get",),
        "ListWork": ("audit:get_all", "action_plan:get_all"),
        "GetSyncStatus": ("service:get_all",),
    },
    PLAN: {
        "GetActionPlan": ("action_plan:get",),
        "ListActionPlans": ("action_plan:get_all",),
        "StartActionPlan": ("action_plan:start",),
        "CancelActionPlan": ("action_plan:update",),
        "RollbackActionPlan": ("action_plan:rollback",),
        "DeleteActionPlan": ("action_plan:delete",),
        "ListActions": ("action:get_all",),
        "GetAction": ("action:get",),
        "SkipAction": ("action:update",),
        "WatchActionPlans": ("action_plan:get_all",),
    },
}
"""Service -> RPC -> the rules that its caller must pass, all of them."""


def rpcs_of(rule: str) -> list[str]:
    """The paths of the RPCs that ask this rule."""
    return [
        f"/{service}/{rpc}"
        for service, rpcs in TYPED_RULES.items()
        for rpc, rules in rpcs.items()
        if rule in rules
    ]
