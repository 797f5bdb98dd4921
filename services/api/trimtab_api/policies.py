"""The named rules of every endpoint and the operator's policy file over them (A-034).

Defaults are Watcher's, and the file is oslo.policy's: `[oslo_policy] policy_file`, read again when
it changes. `trimtab policy sample` writes it out with all defaults.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import structlog
from oslo_config import cfg
from oslo_policy import policy as oslo

from trimtab_api.auth import Identity, denied
from trimtab_api.rest.routes import IDENT, ROUTES, WEBHOOK_RULE
from trimtab_api.typed.rules import rpcs_of
from trimtab_common.domain.errors import Bug, FailedPrecondition, Unavailable
from trimtab_common.runtime.clock import Clock

log = structlog.get_logger(__name__)
MODEL_RULE = "model:watch"
SCORING_RULE = "scoring:infer"
EDGE_RULES: Mapping[str, str] = {
    "/trimtab.model.v1.": MODEL_RULE,
    "/trimtab.scoring.v1.": SCORING_RULE,
    "/inference.": SCORING_RULE,
}
"""Rules of the gRPC services that the edge guards, by the beginning of the method's path."""

RECHECK_S = 1.0
"""How long a decision is remembered: a changed policy file counts after that at the latest."""
MAX_REMEMBERED = 10_000
_VERBS = {"get_all": "List", "detail": "List with details", "get": "Show"}
_ADMIN, _ADMIN_OR_SERVICE = "rule:admin_api", "rule:admin_or_service_api"


def edge_rule(method: str) -> str | None:
    """The rule of a gRPC method behind the edge; None when the edge does not guard it."""
    return next((rule for start, rule in EDGE_RULES.items() if method.startswith(start)), None)


def list_rules() -> Sequence[oslo.RuleDefault]:
    """All rules with their defaults; oslo.policy's own tools find this by its entry point."""
    return [
        oslo.RuleDefault(
            "admin_api", "role:admin or role:administrator", description="Operators of the cloud."
        ),
        oslo.RuleDefault(
            "admin_or_service_api",
            "rule:admin_api or role:service",
            description="Operators, and the cloud's own services.",
        ),
        *_rest_rules(),
        *_edge_rules(),
    ]


def _rest_rules() -> Iterator[oslo.DocumentedRuleDefault]:
    operations: defaultdict[str, list[oslo.Operation]] = defaultdict(list)
    for route in ROUTES:
        if route.rule:
            path = "/".join(("", "v1", *route.path)).replace(IDENT, "{id}")
            operations[route.rule].append({"method": route.method, "path": path})
    for rule, where in operations.items():
        for path in rpcs_of(rule):
            where.append({"method": "gRPC", "path": path})
        noun, _, verb = rule.partition(":")
        yield oslo.DocumentedRuleDefault(
            name=rule,
            check_str=_ADMIN_OR_SERVICE if rule == WEBHOOK_RULE else _ADMIN,
            description=f"{_VERBS.get(verb, verb.capitalize())}: {noun}".replace("_", " "),
            operations=where,
        )


def _edge_rules() -> Iterator[oslo.DocumentedRuleDefault]:
    texts = {
        MODEL_RULE: "Read and watch cluster models and metrics, by gRPC.",
        SCORING_RULE: "Use scoring engines, by gRPC and the Open Inference Protocol.",
    }
    for rule, text in texts.items():
        yield oslo.DocumentedRuleDefault(
            name=rule,
            check_str=_ADMIN,
            description=text,
            operations=[
                {"method": "gRPC", "path": f"{start}*"}
                for start, wanted in EDGE_RULES.items()
                if wanted == rule
            ],
        )


class FilePolicy:
    """A `Policy` by the operator's file. A file that gets broken leaves the rules as they were.

    FailedPrecondition when the file cannot be used at the start.
    """

    def __init__(self, conf: cfg.ConfigOpts, *, clock: Clock) -> None:
        self._clock = clock
        self._enforcer = oslo.Enforcer(conf)
        self._enforcer.register_defaults(list_rules())
        self._decisions: OrderedDict[tuple[str, Identity], tuple[float, bool]] = OrderedDict()
        try:
            self._enforcer.load_rules()
        except (ValueError, OSError, cfg.Error) as error:
            raise FailedPrecondition(f"The policy file cannot be used: {error}") from error

    def enforce(self, rule: str, identity: Identity) -> None:
        """PermissionDenied, naming the rule."""
        moment = self._clock.monotonic()
        known = self._decisions.get((rule, identity))
        if known is None or known[0] <= moment:
            known = (moment + RECHECK_S, self._decide(rule, identity))
            self._decisions[rule, identity] = known
            if len(self._decisions) > MAX_REMEMBERED:
                self._decisions.popitem(last=False)
        if not known[1]:
            raise denied(rule)

    def _decide(self, rule: str, identity: Identity) -> bool:
        try:
            return self._ask(rule, identity)
        except (ValueError, OSError, cfg.Error) as error:
            log.error("the policy file cannot be used", problem=str(error))  # noqa: TRY400, a text
        try:  # what cannot be parsed is not tried again until it changes: the old rules stand
            return self._ask(rule, identity)
        except (ValueError, OSError, cfg.Error) as error:
            raise Unavailable(
                "The policy file of the API service cannot be read; its log says why."
            ) from error

    def _ask(self, rule: str, identity: Identity) -> bool:
        target = {"user_id": identity.user_id, "project_id": identity.project_id}
        credentials = {
            **target,
            "domain_id": identity.domain_id or None,
            "system_scope": identity.system_scope or None,
            "roles": sorted(identity.roles),
        }
        try:
            return bool(self._enforcer.authorize(rule, target, credentials))
        except oslo.PolicyNotRegistered as error:
            raise Bug(f"The rule {rule} is in no list.") from error
