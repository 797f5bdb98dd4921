"""How a metric went, for strategies that look for patterns: what to ask for, and how it stands in the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.time_series import TimeSeries

SUFFIX = "_history"
"""Of the name under which the past of a metric stands in the metrics table."""
MAX_VALUES = 20_000_000
"""Of one metric, all resources together: 160 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One metric of all hosts or servers over the last `span_s`, a value each `granularity_s` (B-070).

    aggregate: how the samples of a step become one value. is_optional: the plan does without it.
    InvalidArgument: a span shorter than two steps.
    """

    metric: str
    span_s: int
    granularity_s: int = 3600
    aggregate: str = "mean"
    is_optional: bool = False

    def __post_init__(self) -> None:
        if self.granularity_s <= 0 or self.span_s < 2 * self.granularity_s:
            raise InvalidArgument(
                f"The history of {self.metric} needs a granularity above 0 seconds and at least two "
                f"steps of it; {self.span_s} s in steps of {self.granularity_s} s are none."
            )

    @property
    def n_steps(self) -> int:
        """How many values a resource has, those that nobody measured too."""
        return self.span_s // self.granularity_s

    @property
    def is_of_hosts(self) -> bool:
        """Of servers otherwise."""
        return self.metric.startswith("host_")

    @property
    def column(self) -> str:
        """Its name in the metrics table: [H or V, n_steps], oldest first, NaN where nothing was measured."""
        return self.metric + SUFFIX

    def check_size(self, n_resources: int) -> None:
        """InvalidArgument: more values than memory should hold (B-072)."""
        if n_resources * self.n_steps > MAX_VALUES:
            raise InvalidArgument(
                f"The history of {self.metric} would be {n_resources} times {self.n_steps} values; "
                f"{MAX_VALUES} are allowed. Ask for a shorter span or a coarser granularity."
            )


def series_of(row: NDArray[np.float64], step_s: int) -> TimeSeries | None:
    """The values of one resource; gaps are filled along a straight line. None: nothing was measured.

    Its times count from the beginning of the span.
    """
    known = np.flatnonzero(np.isfinite(row)).tolist()
    if not known:
        return None
    return TimeSeries.of({float(i * step_s): float(row[i]) for i in known}, step_s)
