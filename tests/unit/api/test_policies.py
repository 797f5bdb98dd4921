"""Rules: each one in use is registered, operators' files override, and changes count at once."""

from __future__ import annotations

import ast
import itertools
import os
import re
from pathlib import Path

import pytest
from oslo_config import cfg

import trimtab_api
from trimtab_api.auth import DefaultPolicy, Identity
from trimtab_api.policies import EDGE_RULES, FilePolicy, edge_rule, list_rules
from trimtab_api.rest.routes import ROUTES
from trimtab_api.typed.rules import TYPED_RULES
from trimtab_common.domain.errors import Bug, FailedPrecondition, PermissionDenied
from trimtab_common.runtime.clock import FakeClock

RULE = re.compile(r"[a-z_]+:[a-z_]+")
NAMES = {rule.name for rule in list_rules()}
ADMIN = Identity(user_id="u", project_id="p", roles=frozenset({"admin"}))
READER = Identity(user_id="r", project_id="p", roles=frozenset({"reader"}))


def as_role(*roles):
    return Identity(user_id="u", project_id="p", roles=frozenset(roles))


def may(policy, rule, identity):
    try:
        policy.enforce(rule, identity)
    except PermissionDenied:
        return False
    return True


class Operator:
    """Writes a policy file and a configuration that names it."""

    def __init__(self, folder):
        self.clock = FakeClock()
        self._file = folder / "policy.yaml"
        self._folder = folder
        self._times = itertools.count(1_700_000_000)

    def write(self, text):
        self._file.write_text(text)
        moment = next(self._times)
        os.utime(self._file, (moment, moment))

    def policy(self):
        conf = cfg.ConfigOpts()
        config = self._folder / "trimtab.conf"
        config.write_text(f"[oslo_policy]\npolicy_file = {self._file}\n")
        conf(["--config-file", str(config)], project="trimtab")
        return FilePolicy(conf, clock=self.clock)


@pytest.fixture
def operator(tmp_path):
    return Operator(tmp_path)


def rules_of_typed_services():
    """(name of the RPC, its rules) as the sources ask them, also through a method of the class."""
    for path in (Path(trimtab_api.__file__).parent / "typed").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Service"):
                methods = {m.name: m for m in node.body if isinstance(m, ast.AsyncFunctionDef)}
                for name, method in methods.items():
                    if not name.startswith("_"):
                        yield name, asked_in(method, methods)


def asked_in(method, methods):
    names = {n.attr for n in ast.walk(method) if isinstance(n, ast.Attribute)}
    texts = [n.value for n in ast.walk(method) if isinstance(n, ast.Constant)]
    rules = tuple(text for text in texts if isinstance(text, str) and RULE.fullmatch(text))
    return rules or tuple(r for n in names & set(methods) for r in asked_in(methods[n], methods))


@pytest.mark.req("A-034")
def test_every_rule_in_use_is_registered():
    typed = {rule for _, rules in rules_of_typed_services() for rule in rules}
    assert len(typed) > 5
    assert typed <= NAMES
    assert {route.rule for route in ROUTES if route.rule} <= NAMES
    assert set(EDGE_RULES.values()) == {"model:watch", "scoring:infer"}
    assert set(EDGE_RULES.values()) <= NAMES


@pytest.mark.req("A-034")
def test_the_sample_of_the_policy_file_names_every_typed_rpc_with_its_rules():
    declared = {rpc: rules for rpcs in TYPED_RULES.values() for rpc, rules in rpcs.items()}
    assert dict(rules_of_typed_services()) == declared
    written = [
        (operation["path"], rule.name)
        for rule in list_rules()
        for operation in getattr(rule, "operations", ())
        if operation["method"] == "gRPC"
    ]
    for service, rpcs in TYPED_RULES.items():
        for rpc, rules in rpcs.items():
            path = f"/{service}/{rpc}"
            assert {name for where, name in written if where == path} == set(rules)


@pytest.mark.req("A-034")
@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        (("admin",), NAMES),
        (("Administrator",), NAMES),
        (("service",), {"webhook:trigger", "admin_or_service_api"}),
        (("member", "reader"), set()),
        ((), set()),
    ],
)
def test_without_a_file_the_defaults_count(operator, roles, allowed):
    policy = operator.policy()
    assert {name for name in NAMES if may(policy, name, as_role(*roles))} == allowed


def test_the_defaults_of_both_policies_agree(operator):
    by_file, by_table = operator.policy(), DefaultPolicy()
    for name in NAMES - {"admin_or_service_api"}:
        for role in ("admin", "administrator", "service", "member"):
            assert may(by_file, name, as_role(role)) == may(by_table, name, as_role(role))


@pytest.mark.req("A-034")
def test_an_operators_file_overrides_one_rule_and_leaves_the_others(operator):
    operator.write('"audit:get_all": "role:reader or rule:admin_api"\n"audit:delete": "!"\n')
    policy = operator.policy()
    assert may(policy, "audit:get_all", READER)
    assert not may(policy, "audit:get", READER)
    assert not may(policy, "audit:delete", ADMIN)


@pytest.mark.req("A-016")
def test_a_refusal_names_the_rule(operator):
    with pytest.raises(PermissionDenied) as refused:
        operator.policy().enforce("audit:get", READER)
    assert refused.value.message == "Policy doesn't allow audit:get to be performed."


def test_a_file_may_speak_of_users_projects_and_scopes(operator):
    operator.write(
        '"audit:get": "user_id:u"\n"audit:detail": "project_id:%(project_id)s"\n'
        '"goal:get": "system_scope:all"\n'
    )
    policy = operator.policy()
    assert may(policy, "audit:get", as_role())
    assert not may(policy, "audit:get", READER)
    assert may(policy, "audit:detail", READER)
    assert may(policy, "goal:get", Identity(user_id="u", system_scope="all"))
    assert not may(policy, "goal:get", ADMIN)


@pytest.mark.req("A-034")
async def test_a_changed_file_counts_within_a_second(operator):
    operator.write('"audit:get": "role:reader"\n')
    policy = operator.policy()
    assert may(policy, "audit:get", READER)
    operator.write('"audit:get": "role:auditor"\n')
    await operator.clock.advance(1.1)
    assert not may(policy, "audit:get", READER)
    assert may(policy, "audit:get", as_role("auditor"))


async def test_a_file_that_appears_later_counts(operator):
    policy = operator.policy()
    assert not may(policy, "audit:get", READER)
    operator.write('"audit:get": "role:reader"\n')
    await operator.clock.advance(1.1)
    assert may(policy, "audit:get", READER)


async def test_a_file_that_gets_broken_leaves_the_rules_as_they_were(operator):
    operator.write('"audit:get": "role:reader"\n')
    policy = operator.policy()
    operator.write('"audit:get": [unclosed\n')
    await operator.clock.advance(1.1)
    assert may(policy, "audit:get", READER)
    assert not may(policy, "audit:delete", READER)
    operator.write('"audit:get": "role:auditor"\n')
    await operator.clock.advance(1.1)
    assert not may(policy, "audit:get", READER)


def test_a_broken_file_stops_the_start(operator):
    operator.write('"audit:get": [unclosed\n')
    with pytest.raises(FailedPrecondition, match="policy file cannot be used"):
        operator.policy()


def test_a_rule_that_nobody_registered_is_a_bug(operator):
    with pytest.raises(Bug):
        operator.policy().enforce("audit:fly", ADMIN)


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("/trimtab.model.v1.ModelService/WatchModel", "model:watch"),
        ("/trimtab.model.v1.MetricsService/GetMetrics", "model:watch"),
        ("/trimtab.scoring.v1.ScoringService/ListEngines", "scoring:infer"),
        ("/inference.GRPCInferenceService/ModelInfer", "scoring:infer"),
        ("/trimtab.audit.v1.AuditService/ListAudits", None),
        ("/trimtab.applier.v1.ApplierService/WakePlan", None),
        ("/trimtab.model.v10.Other/Get", None),
        ("", None),
    ],
)
def test_the_edge_asks_by_grpc_service(method, rule):
    assert edge_rule(method) == rule


def test_the_sample_names_every_rule(tmp_path):
    from oslo_policy import generator

    path = tmp_path / "policy.yaml.sample"
    generator.generate_sample(
        args=["--namespace", "trimtab", "--output-file", str(path)], conf=cfg.ConfigOpts()
    )
    text = path.read_text()
    assert all(f'#"{name}": ' in text for name in NAMES)
    assert "POST  /v1/action_plans/{id}/start" in text
