"""The resources as openstacksdk's: fields as the API names them, by microversion `latest` of both.

What a field means, and since which microversion it is there, stands in the OpenAPI document. Short
lists leave fields out; they are None then.
"""

from __future__ import annotations

from typing import Any

from openstack import resource
from openstack.resource import Body, QueryParameters


def _uuid() -> Any:
    """In each class anew: openstacksdk does not look for it in their common base."""
    return Body("uuid", alternate_id=True)


class _Resource(resource.Resource):
    allow_fetch = True
    allow_list = True

    links = Body("links", type=list)
    created_at = Body("created_at")
    updated_at = Body("updated_at")
    deleted_at = Body("deleted_at")


class Goal(_Resource):
    """What can be optimized for."""

    base_path = "/goals"
    resources_key = "goals"
    _query_mapping = QueryParameters("sort_key", "sort_dir")

    id = _uuid()
    name = Body("name")
    display_name = Body("display_name")
    efficacy_specification = Body("efficacy_specification", type=list)


class Strategy(_Resource):
    """A way to reach a goal."""

    base_path = "/strategies"
    resources_key = "strategies"
    _query_mapping = QueryParameters("goal", "sort_key", "sort_dir")

    id = _uuid()
    name = Body("name")
    display_name = Body("display_name")
    goal_id = Body("goal_uuid")
    goal_name = Body("goal_name")
    parameters_spec = Body("parameters_spec", type=dict)


class AuditTemplate(_Resource):
    """What several audits have in common."""

    base_path = "/audit_templates"
    resources_key = "audit_templates"
    allow_create = allow_delete = True
    _query_mapping = QueryParameters("goal", "strategy", "sort_key", "sort_dir")

    id = _uuid()
    name = Body("name")
    description = Body("description")
    scope = Body("scope", type=list)
    default_parameters = Body("default_parameters", type=dict)
    goal = Body("goal")
    goal_id = Body("goal_uuid")
    goal_name = Body("goal_name")
    strategy = Body("strategy")
    strategy_id = Body("strategy_uuid")
    strategy_name = Body("strategy_name")


class Audit(_Resource):
    """A wish to optimize, once, again and again, or when something happens."""

    base_path = "/audits"
    resources_key = "audits"
    allow_create = allow_delete = True
    _query_mapping = QueryParameters("goal", "strategy", "sort_key", "sort_dir")

    id = _uuid()
    name = Body("name")
    audit_type = Body("audit_type")
    state = Body("state")
    status_message = Body("status_message")
    goal = Body("goal")
    goal_id = Body("goal_uuid")
    goal_name = Body("goal_name")
    strategy = Body("strategy")
    strategy_id = Body("strategy_uuid")
    strategy_name = Body("strategy_name")
    audit_template_id = Body("audit_template_uuid")
    interval = Body("interval")
    next_run_time = Body("next_run_time")
    start_time = Body("start_time")
    end_time = Body("end_time")
    auto_trigger = Body("auto_trigger", type=bool)
    is_forced = Body("force", type=bool)
    parameters = Body("parameters", type=dict)
    scope = Body("scope", type=list)
    hostname = Body("hostname")


class ActionPlan(_Resource):
    """What an audit recommends."""

    base_path = "/action_plans"
    resources_key = "action_plans"
    allow_delete = True
    _query_mapping = QueryParameters("audit_uuid", "strategy", "sort_key", "sort_dir")

    id = _uuid()
    state = Body("state")
    status_message = Body("status_message")
    audit_id = Body("audit_uuid")
    strategy_id = Body("strategy_uuid")
    strategy_name = Body("strategy_name")
    efficacy_indicators = Body("efficacy_indicators", type=list)
    global_efficacy = Body("global_efficacy", type=list)
    hostname = Body("hostname")


class Action(_Resource):
    """One step of a plan."""

    base_path = "/actions"
    resources_key = "actions"
    _query_mapping = QueryParameters("action_plan_uuid", "audit_uuid", "sort_key", "sort_dir")

    id = _uuid()
    state = Body("state")
    status_message = Body("status_message")
    action_plan_id = Body("action_plan_uuid")
    action_type = Body("action_type")
    description = Body("description")
    input_parameters = Body("input_parameters", type=dict)
    parents = Body("parents", type=list)


class ScoringEngine(_Resource):
    """Something that scores by what it has learned."""

    base_path = "/scoring_engines"
    resources_key = "scoring_engines"
    _query_mapping = QueryParameters("sort_key", "sort_dir")

    id = _uuid()
    name = Body("name")
    description = Body("description")
    metainfo = Body("metainfo")


class Service(_Resource):
    """A replica of decision or applier."""

    base_path = "/services"
    resources_key = "services"
    _query_mapping = QueryParameters("sort_key", "sort_dir")

    id = Body("id")
    name = Body("name")
    host = Body("host")
    status = Body("status")
    last_seen_up = Body("last_seen_up")
