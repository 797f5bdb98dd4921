"""How often the cloud may be read in full because somebody asks: a read costs Nova seconds.

A bucket of a few reads, filled again one by one. Sits before `ModelService.Refresh`.
"""

from __future__ import annotations

from trimtab_common.domain.errors import ResourceExhausted
from trimtab_common.runtime.clock import Clock

BURST = 3
INTERVAL_S = 10.0


class RefreshLimit:
    """`burst` reads at once, then one each `interval_s`; 0 allows any number."""

    def __init__(self, clock: Clock, *, interval_s: float = INTERVAL_S, burst: int = BURST) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._burst = burst
        self._left = float(burst)
        self._at = clock.monotonic()

    def take(self) -> None:
        """Takes one read out of the bucket. ResourceExhausted when it is empty."""
        if self._interval_s <= 0:
            return
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) / self._interval_s)
        self._at = now
        if self._left < 1:
            wait_s = (1 - self._left) * self._interval_s
            raise ResourceExhausted(
                f"The cloud was just read in full, {self._burst} times in a row. Ask again in "
                f"{wait_s:.1f} s; until then the model follows the cloud by itself.",
                retry_after_s=f"{wait_s:.3f}",
            )
        self._left -= 1
