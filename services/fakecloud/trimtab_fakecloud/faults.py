"""Faults on order: what should go wrong, how often, and for how long."""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from trimtab_fakecloud.errors import BadRequest
from trimtab_fakecloud.settings import CloudSpec

SERVICES = ("identity", "compute", "placement", "prometheus")


@dataclass(frozen=True, slots=True)
class RequestFault:
    """What happens to requests, after `skip` of them that it spares.

    ``remaining`` None means until it is taken away.
    """

    service: str
    method: str | None = None
    path_contains: str = ""
    status: int | None = None
    latency_s: float = 0.0
    ratio: float = 1.0
    remaining: int | None = None
    skip: int = 0

    def concerns(self, service: str, method: str, path: str) -> bool:
        """This request may be hit."""
        return (
            self.service == service
            and self.method in (None, method)
            and self.path_contains in path
            and self.remaining != 0
        )


@dataclass(slots=True)
class Faults:
    """The orders in force."""

    migration_s: float
    migration_jitter_ratio: float
    fail_ratio: float
    max_concurrent_live_migrations: int
    requests: list[RequestFault] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For ``GET /control/faults``."""
        return asdict(self)

    def update(self, wanted: Mapping[str, Any]) -> None:
        """Replace the orders that are named: all of them, or none if one is refused.

        Raises:
            BadRequest: an unknown order, or a value of the wrong kind.
        """
        known = {f.name for f in fields(self)}
        unknown = set(wanted) - known
        if unknown:
            raise BadRequest(f"Unknown faults: {', '.join(sorted(unknown))}")
        checked = {name: _checked(name, value) for name, value in wanted.items()}
        for name, value in checked.items():
            setattr(self, name, value)

    def hit(self, request: tuple[str, str, str], rng: random.Random) -> RequestFault | None:
        """The fault that strikes this (service, method, path), counted down."""
        for index, fault in enumerate(self.requests):
            if fault.concerns(*request) and rng.random() < fault.ratio:
                if fault.skip > 0:
                    self.requests[index] = replace(fault, skip=fault.skip - 1)
                    continue
                if fault.remaining is not None:
                    self.requests[index] = replace(fault, remaining=fault.remaining - 1)
                return fault
        return None


def faults_of(spec: CloudSpec) -> Faults:
    """The orders that the cloud starts with."""
    return Faults(
        migration_s=spec.migration_s,
        migration_jitter_ratio=spec.migration_jitter_ratio,
        fail_ratio=spec.fail_ratio,
        max_concurrent_live_migrations=spec.max_concurrent_live_migrations,
    )


def _checked(name: str, value: Any) -> Any:
    if name == "requests":
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise BadRequest(f"requests must be a list of objects, not {value!r}")
        return [_request_fault(item) for item in value]
    number = _positive(name, value)
    return int(number) if name == "max_concurrent_live_migrations" else number


def _positive(name: str, value: Any) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < float("inf")
    ):
        raise BadRequest(f"{name} must be a number of at least 0, not {value!r}")
    return float(value)


def _request_fault(item: Mapping[str, Any]) -> RequestFault:
    try:
        fault = RequestFault(**item)
    except TypeError as error:
        raise BadRequest(f"A request fault is not right: {error}") from None
    if fault.service not in SERVICES:
        raise BadRequest(f"service must be one of {', '.join(SERVICES)}, not {fault.service!r}")
    return fault
