"""The payload of every notification, built from records (requirements A §8, A-118..A-125).

On the main path: the store calls these inside the transaction that saves the object. Pure: no
clock, no database. Field names and object versions are Watcher's, with the fields of A-125.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trimtab_common.domain.records import (
    Action,
    ActionPlan,
    Audit,
    AuditTemplate,
    Goal,
    Service,
    Stamped,
    Strategy,
)

Payload = dict[str, Any]

# one minor version above today's for the objects that gained fields, and their wrappers.
_VERSIONS = {
    "TerseAuditPayload": "1.4",
    "AuditPayload": "1.4",
    "AuditCreatePayload": "1.3",
    "AuditUpdatePayload": "1.3",
    "AuditDeletePayload": "1.3",
    "AuditActionPayload": "1.3",
    "AuditStateUpdatePayload": "1.1",
    "TerseActionPlanPayload": "1.3",
    "ActionPlanPayload": "1.3",
    "ActionPlanCreatePayload": "1.3",
    "ActionPlanUpdatePayload": "1.3",
    "ActionPlanDeletePayload": "1.3",
    "ActionPlanActionPayload": "1.3",
    "ActionPlanCancelPayload": "1.3",
    "ActionPlanStateUpdatePayload": "1.1",
    "ActionPayload": "1.1",
    "ActionCreatePayload": "1.1",
    "ActionUpdatePayload": "1.1",
    "ActionDeletePayload": "1.1",
    "ActionExecutionPayload": "1.1",
    "ActionCancelPayload": "1.1",
    "ActionStateUpdatePayload": "1.1",
    "GoalPayload": "1.0",
    "StrategyPayload": "1.0",
    "ExceptionPayload": "1.0",
    "ServiceUpdatePayload": "1.0",
    "ServiceStatusUpdatePayload": "1.0",
    "ScopeWarningPayload": "1.0",
    "AuditProgressPayload": "1.0",
}


def wrapped(name: str, data: Mapping[str, Any]) -> Payload:
    """The object of this name and version around `data`."""
    return {
        "watcher_object.name": name,
        "watcher_object.namespace": "watcher",
        "watcher_object.version": _VERSIONS[name],
        "watcher_object.data": dict(data),
    }


def goal(record: Goal) -> Payload:
    """GoalPayload."""
    return wrapped(
        "GoalPayload",
        {
            "uuid": record.uuid,
            "name": record.name,
            "display_name": record.display_name,
            "efficacy_specification": record.efficacy_specification,
            **_times(record),
        },
    )


def strategy(record: Strategy) -> Payload:
    """StrategyPayload."""
    return wrapped(
        "StrategyPayload",
        {
            "uuid": record.uuid,
            "name": record.name,
            "display_name": record.display_name,
            "parameters_spec": record.parameters_spec,
            **_times(record),
        },
    )


def fault(
    *, exception: str, message: str, module_name: str = "", function_name: str = ""
) -> Payload:
    """ExceptionPayload: what `error` phases carry. Never a stack trace."""
    return wrapped(
        "ExceptionPayload",
        {
            "module_name": module_name,
            "function_name": function_name,
            "exception": exception,
            "exception_message": message,
        },
    )


def state_update(
    kind: str, *, old_state: str | None, state: str | None, status_message: str | None
) -> Payload:
    """{Audit,ActionPlan,Action}StateUpdatePayload; all null unless the state changed (A-124)."""
    return wrapped(
        f"{kind}StateUpdatePayload",
        {"old_state": old_state, "state": state, "status_message": status_message},
    )


def terse_audit(record: Audit) -> Payload:
    """TerseAuditPayload."""
    return wrapped("TerseAuditPayload", _audit_fields(record))


def audit(
    wrapper: str,
    record: Audit,
    *,
    goal_record: Goal,
    strategy_record: Strategy | None,
    **extra: Payload | None,
) -> Payload:
    """The Audit*Payload of this name; `extra`: state_update or fault."""
    return wrapped(
        wrapper,
        {
            **_audit_fields(record),
            "goal": goal(goal_record),
            "strategy": None if strategy_record is None else strategy(strategy_record),
            **extra,
        },
    )


def audit_progress(record: Audit, search: Payload) -> Payload:
    """AuditProgressPayload, not one of Watcher's and never on the bus: the best plan so far."""
    return wrapped("AuditProgressPayload", {"uuid": record.uuid, "search": search})


def terse_action_plan(record: ActionPlan) -> Payload:
    """TerseActionPlanPayload."""
    return wrapped("TerseActionPlanPayload", _plan_fields(record))


def action_plan(
    wrapper: str,
    record: ActionPlan,
    *,
    audit_record: Audit,
    strategy_record: Strategy,
    **extra: Payload | None,
) -> Payload:
    """The ActionPlan*Payload of this name; `extra`: state_update or fault."""
    return wrapped(
        wrapper,
        {
            **_plan_fields(record),
            "audit": terse_audit(audit_record),
            "strategy": strategy(strategy_record),
            **extra,
        },
    )


def action(
    wrapper: str, record: Action, *, terse_plan: Payload, **extra: Payload | None
) -> Payload:
    """The Action*Payload of this name. `terse_plan` is built once for all actions of a plan."""
    return wrapped(
        wrapper,
        {
            "uuid": record.uuid,
            "action_type": record.action_type,
            "input_parameters": record.input_parameters,
            "state": str(record.state),
            "parents": list(record.parents),
            "action_plan_uuid": record.action_plan_uuid,
            "action_plan": terse_plan,
            "status_message": record.status_message,
            **_times(record),
            **extra,
        },
    )


def service_update(record: Service, *, old_state: str, state: str) -> Payload:
    """ServiceUpdatePayload. `sevice_host` is misspelt on the wire since ever."""
    return wrapped(
        "ServiceUpdatePayload",
        {
            "sevice_host": record.host,
            "name": record.name,
            "last_seen_up": _time(record.last_seen_up),
            "status_update": wrapped(
                "ServiceStatusUpdatePayload", {"old_state": old_state, "state": state}
            ),
        },
    )


def scope_warning(record: Audit | AuditTemplate, problems: Sequence[str]) -> Payload:
    """ScopeWarningPayload, not one of Watcher's: what a scope names and no model holds (C-092)."""
    return wrapped(
        "ScopeWarningPayload",
        {
            "kind": "audit" if isinstance(record, Audit) else "audit_template",
            "uuid": record.uuid,
            "name": record.name,
            "problems": list(problems),
        },
    )


def _audit_fields(record: Audit) -> Payload:
    return {
        "uuid": record.uuid,
        "name": record.name,
        "audit_type": str(record.audit_type),
        "state": str(record.state),
        "parameters": record.parameters,
        "interval": record.interval,
        "scope": record.scope,
        "goal_uuid": record.goal_uuid,
        "strategy_uuid": record.strategy_uuid,
        "auto_trigger": record.auto_trigger,
        "next_run_time": _time(record.next_run_time),
        "hostname": record.hostname,
        "start_time": _time(record.start_time),
        "end_time": _time(record.end_time),
        "force": record.force,
        "status_message": record.status_message,
        **_times(record),
    }


def _plan_fields(record: ActionPlan) -> Payload:
    return {
        "uuid": record.uuid,
        "state": str(record.state),
        "global_efficacy": record.global_efficacy,
        "audit_uuid": record.audit_uuid,
        "audit_name": record.audit_name,
        "strategy_uuid": record.strategy_uuid,
        "hostname": record.hostname,
        "status_message": record.status_message,
        **_times(record),
    }


def _times(record: Stamped) -> Payload:
    return {
        "created_at": _time(record.created_at),
        "updated_at": _time(record.updated_at),
        "deleted_at": _time(record.deleted_at),
    }


def _time(value: datetime | None) -> str | None:
    """Seconds and Z, as oslo's versioned objects write times."""
    return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
