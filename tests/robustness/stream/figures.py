"""How large an ordeal is, what came of it, and when it was too small to prove anything."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from guarantees import SIX, Verdict

LEAST_PER_S = 500.0
QUIET_S = 2.0
COLLECTOR_MIB = 100.0
"""That the collector may grow by: the log (64 MiB at most) and what gRPC holds for its readers."""
READER_MIB = 60.0
"""That a reader may grow by: a slow one, which keeps its history, and a replica, which does not."""
Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Size:
    """What is wanted of a run. per_s: changes that the cloud makes a second."""

    changes: int
    per_s: float
    watchers: int
    disconnects: int
    compactions: int
    kills: int
    seed: int

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Size:
        """From TRIMTAB_STREAM_*; all grows with the number of changes unless it is given."""

        def number(name: str, default: int) -> int:
            return int(environment.get(f"TRIMTAB_STREAM_{name}", default))

        changes = number("CHANGES", 20_000)
        return cls(
            changes=changes,
            per_s=float(number("PER_S", 1000)),
            watchers=number("WATCHERS", 50),
            disconnects=number("DISCONNECTS", changes // 100),
            compactions=number("COMPACTIONS", max(2, changes // 10_000)),
            kills=number("KILLS", max(2, changes // 20_000)),
            seed=number("SEED", 1),
        )


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the traffic, up to a kill or the end. cpu_s: by process."""

    changes: int
    seconds: float
    outage_s: float
    cpu_s: Mapping[str, float]


@dataclass(slots=True)
class Figures:
    """What was measured."""

    size: Size
    changes: int = 0
    seconds: float = 0.0
    outages_s: list[float] = field(default_factory=list)
    made: int = 0
    held_back: int = 0
    equal_after_s: float = 0.0
    forgotten: int = 0
    ring: int = 1
    told_slow: int = 0
    collector_mib: tuple[float, float] = (0.0, 0.0)
    slow_mib: list[tuple[float, float]] = field(default_factory=list)
    replica_mib: list[tuple[float, float]] = field(default_factory=list)
    cuts: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    sections: list[Section] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        """Changes streamed a second, while there was a collector that streamed."""
        return self.changes / max(0.001, self.seconds - sum(self.outages_s))

    @property
    def compactions(self) -> float:
        """How often the log forgot all that it once held."""
        return self.forgotten / self.ring


def shortages(figures: Figures, verdict: Verdict) -> list[str]:
    """Why a run is void: one that did not try hard proves nothing."""
    size, counts = figures.size, verdict.counts
    least = (
        (figures.per_s, LEAST_PER_S, "changes a second"),
        (sum(figures.cuts.values()), size.disconnects, "disconnects"),
        (len(figures.outages_s), size.kills, "kills"),
        (figures.compactions, size.compactions, "compactions"),
        (counts["snapshot token_too_old"], 1, "tokens that were too old"),
        (figures.told_slow, 1, "readers that were too slow"),
    )
    return [
        f"{has:.0f} {what}, {needed:.0f} are needed" for has, needed, what in least if has < needed
    ]


def table(figures: Figures, verdict: Verdict) -> str:
    """All that happened, beside what was wanted."""
    rows = [("", "wanted", "happened"), *_rows(figures, verdict)]
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{a:{wide[0]}}  {b:>{wide[1]}}  {c}".rstrip() for a, b, c in rows]
    return "\n".join([*lines, "", *_sections(figures)])


def _rows(figures: Figures, verdict: Verdict) -> Iterator[Row]:
    size, counts = figures.size, verdict.counts
    yield "changes streamed", f"{size.changes}", f"{figures.changes} in {figures.seconds:.1f} s"
    yield "changes/s", f">= {LEAST_PER_S:.0f}", f"{figures.per_s:.0f}"
    yield "changes made", f"{size.per_s:.0f}/s", f"{figures.made}, held back {figures.held_back}"
    yield (
        "watchers",
        f"{size.watchers}",
        f"and {len(figures.slow_mib)} slow, {len(figures.replica_mib)} replicas",
    )
    yield (
        "disconnects",
        f"{size.disconnects}",
        f"{sum(figures.cuts.values())}: {_words(figures.cuts)}",
    )
    longest = f"the longest {max(figures.outages_s, default=0.0):.1f} s without"
    yield "collector kills", f"{size.kills}", f"{len(figures.outages_s)}, {longest}"
    turns = f"{figures.compactions:.0f}: {figures.forgotten} batches of a log of {figures.ring}"
    yield "compactions", f"{size.compactions}", turns
    reasons = {
        k.removeprefix("snapshot "): n for k, n in counts.items() if k.startswith("snapshot")
    }
    yield "snapshots", "", _words(reasons)
    yield "calls", "", f"{counts['links']}, ended: {_words(figures.ends)}"
    yield "told to be too slow", ">= 1", f"{figures.told_slow}"
    yield "deltas and digests checked", "", f"{counts['deltas']} and {counts['digests']}"
    for name in SIX:
        yield f"breaches: {name}", "0", f"{len(verdict.of(name))}"
    yield "equal after quiet, s", f"<= {QUIET_S:.1f}", f"{figures.equal_after_s:.2f}"
    yield "collector grew, MiB", f"<= {COLLECTOR_MIB:.0f}", _grown([figures.collector_mib])
    yield "slow readers grew, MiB", f"<= {READER_MIB:.0f}", _grown(figures.slow_mib)
    yield "replicas grew, MiB", f"<= {READER_MIB:.0f}", _grown(figures.replica_mib)


def _sections(figures: Figures) -> Iterator[str]:
    """How the run went: a rate that sinks tells that something grows."""
    yield "up to     changes      s  changes/s  then without, s  CPU ms a change, by process"
    for number, section in enumerate(figures.sections, 1):
        name = f"kill {number}" if section.outage_s else "the end"
        costs = {
            key: f"{s * 1000 / max(1, section.changes):.2f}" for key, s in section.cpu_s.items()
        }
        yield (
            f"{name:8}  {section.changes:7}  {section.seconds:5.1f}  "
            f"{section.changes / max(0.001, section.seconds):9.0f}  {section.outage_s:15.1f}  {_words(costs)}"
        )


def _grown(spans: list[tuple[float, float]]) -> str:
    return ", ".join(f"{most - least:.0f} ({least:.0f} -> {most:.0f})" for least, most in spans)


def _words(counts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
