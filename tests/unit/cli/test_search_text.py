"""How the search of an audit is told on the command line."""

from __future__ import annotations

from trimtab.audit.v1 import audit_pb2
from trimtab.plan.v1 import plan_pb2
from trimtab_cli.output import search_text


def test_the_best_plan_so_far_is_one_line():
    search = audit_pb2.SearchProgress(
        measure="hosts in use", incumbent=5571, bound=5462, gap_pct=1.957, seconds=0.38, moves=50626
    )
    assert search_text(audit_pb2.AuditChange(search=search)) == (
        "hosts in use 5571 so far with 50626 moves, none below 5462 (gap 2.0 %), after 0.4 s"
    )


def test_without_a_bound_none_is_named():
    search = audit_pb2.SearchProgress(measure="deviation", incumbent=0.125, seconds=2, moves=3)
    assert search_text(audit_pb2.AuditChange(search=search)) == (
        "deviation 0.125 so far with 3 moves, after 2.0 s"
    )


def test_other_changes_tell_nothing():
    assert search_text(audit_pb2.AuditChange(event_type="audit.update")) == ""
    assert search_text(plan_pb2.ActionPlanChange(event_type="action_plan.update")) == ""
