"""What may start an EVENT audit from inside (A-075): the parameter `trigger_on`.

On the main path: api splits it off before the strategy's schema sees the parameters, and stores it
beside them; decision splits it off again, and follows its own copy of the model by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.lifecycle import AuditType

NAME = "trigger_on"
MAX = 16
_THRESHOLD = re.compile(r"^((?:host|instance)_[a-z0-9_]+)\s*([<>])\s*(-?\d+(?:\.\d+)?)$")


class Happening(StrEnum):
    """What the model tells."""

    NODE_ADDED = "compute_node_added"
    NODE_REMOVED = "compute_node_removed"
    INSTANCE_CREATED = "instance_created"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A metric of any host or instance beyond a limit."""

    metric: str
    is_above: bool
    limit: float


Trigger = Happening | Threshold


def parsed(text: str) -> Trigger:
    """InvalidArgument names what there is.

    Example: "compute_node_added", "host_cpu_usage > 80".
    """
    if text in set(Happening):
        return Happening(text)
    found = _THRESHOLD.match(text)
    if found is None:
        raise InvalidArgument(
            f"{NAME}: {text!r} is none of {', '.join(Happening)}, and no threshold such as "
            "'host_cpu_usage > 80'."
        )
    return Threshold(found[1], found[2] == ">", float(found[3]))


def split(parameters: Mapping[str, Any]) -> tuple[dict[str, Trigger], dict[str, Any]]:
    """The triggers by their text, and the other parameters. InvalidArgument: not a list of them."""
    rest = {name: value for name, value in parameters.items() if name != NAME}
    given = parameters.get(NAME)
    if given is None:
        return {}, rest
    texts = given.split(",") if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidArgument(f"{NAME} must be a list of texts.")
    if len(texts) > MAX:
        raise InvalidArgument(f"{NAME} may have {MAX} entries, not {len(texts)}.")
    return {text.strip(): parsed(text.strip()) for text in texts}, rest


def stored(triggers: Mapping[str, Trigger], audit_type: AuditType) -> dict[str, Any]:
    """What goes back beside the strategy's parameters. InvalidArgument: not an EVENT audit."""
    if not triggers:
        return {}
    if audit_type is not AuditType.EVENT:
        raise InvalidArgument(f"{NAME} is for EVENT audits, not for {audit_type} ones.")
    return {NAME: list(triggers)}
