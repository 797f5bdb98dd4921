"""The right to work on one plan: held while it is renewed, lost for good otherwise.

The stored lease lasts longer than its holder believes, by `margin_s`: a cloud write that the
holder began in time has ended, or timed out, before anybody else can take the plan over. Time is
measured from before the request that renewed it, by the monotonic clock, so that a process
that slept through its lease knows it at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from trimtab_applier.errors import LeaseLost, why
from trimtab_common.domain.records import Lease
from trimtab_common.runtime import failpoints
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Store

log = structlog.get_logger(__name__)
KIND = "action_plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """How long a lease is good (s), what is added for take-over (s), how often it is renewed (s)."""

    ttl_s: float = 14.0
    margin_s: float = 10.0
    renew_every_s: float = 2.8

    @property
    def stored_s(self) -> float:
        """How long nobody else can take the plan over after a renewal."""
        return self.ttl_s + self.margin_s


class LeaseKeeper:
    """Holds one lease."""

    def __init__(
        self, store: Store, clock: Clock, terms: LeaseTerms, *, lease: Lease, until: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._terms = terms
        self._until = until
        self._quiet_at = until - terms.ttl_s + (terms.margin_s if lease.taken_early else 0.0)
        self.lease = lease

    @property
    def is_quiet(self) -> bool:
        """Whether every write of an earlier holder has ended: only then no trace means no write.

        A lease that ran out was waited for; one that was taken from a process known to have ended was not.
        """
        return self._clock.monotonic() >= self._quiet_at

    @classmethod
    async def acquire(
        cls, store: Store, clock: Clock, terms: LeaseTerms, *, uuid: str, owner: str
    ) -> LeaseKeeper | None:
        """Takes the lease of a plan that nobody holds; None when somebody does."""
        before = clock.monotonic()
        lease = await store.transact(
            lambda session: session.leases.acquire(KIND, uuid, owner, terms.stored_s)
        )
        if lease is None:
            return None
        return cls(store, clock, terms, lease=lease, until=before + terms.ttl_s)

    @property
    def remaining_s(self) -> float:
        """How long the lease is still good; negative when it is over."""
        return self._until - self._clock.monotonic()

    def check(self, needed_s: float = 0.0) -> None:
        """Raises LeaseLost unless the lease is good for that long."""
        if self.remaining_s < needed_s:
            raise LeaseLost(
                f"The lease on plan {self.lease.uuid} is good for {self.remaining_s:.1f} s, "
                f"{needed_s:.1f} s are needed"
            )

    async def ensure(self, needed_s: float) -> None:
        """Makes the lease good for at least that long, renewing it when it is not.

        Raises:
            LeaseLost: it is over, somebody else has it, or it cannot last that long.
        """
        if self.remaining_s < needed_s:
            await self.renew()
        self.check(needed_s)

    async def renew(self) -> None:
        """Prolongs the lease.

        Raises:
            LeaseLost: it is over or somebody else has it.
        """
        self.check()
        before = self._clock.monotonic()
        renewed = await self._store.transact(
            lambda session: session.leases.renew(self.lease, self._terms.stored_s)
        )
        if renewed is None:
            self._until = self._clock.monotonic() - 1.0
            raise LeaseLost(f"The lease on plan {self.lease.uuid} was taken over")
        self.lease = renewed
        self._until = before + self._terms.ttl_s

    async def keep(self) -> None:
        """Renews until it is cancelled; ends with LeaseLost."""
        while True:
            await self._clock.sleep(self._terms.renew_every_s)
            try:
                failpoints.reach("applier.lease.renew")
                await self.renew()
            except LeaseLost:
                raise
            except Exception as error:  # noqa: BLE001, the store may be back before the lease is over
                log.warning(
                    "lease not renewed",
                    plan=self.lease.uuid,
                    remaining_s=self.remaining_s,
                    problem=why(error),
                )
                self.check()

    async def release(self) -> None:
        """Gives the plan to whoever wants it, now."""
        await self._store.transact(lambda session: session.leases.release(self.lease))
