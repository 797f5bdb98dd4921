"""What random operations are made of: acts that are chosen first and then asked for side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Act:
    """One operation. `ask` sends the request and gives the cloud's answer."""

    kind: str
    ask: Callable[[], Any]


@dataclass
class Tally:
    """Acts by kind: `done` were accepted, `refused` were not (400, 409...), `failed` broke (5xx)."""

    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def take(self, act: Act, answer: Any) -> str:
        """Counts an act by its answer, an exception or a response; what failed, in words, or ""."""
        if isinstance(answer, Exception):
            self.failed[act.kind] += 1
            return f"{act.kind}: {type(answer).__name__}: {answer}"
        if answer is not None and answer.status_code >= 500:
            self.failed[act.kind] += 1
            return f"{act.kind}: {answer.status_code} {answer.text}"
        accepted = answer is None or answer.status_code < 400
        (self.done if accepted else self.refused)[act.kind] += 1
        return ""


class Stuck:
    """Finds what the cloud works on for longer than anything takes.

    A broker that dies takes calls in flight with it: what they were to do is never done.
    """

    def __init__(self, monotonic: Callable[[], float], after_s: float) -> None:
        self._monotonic = monotonic
        self._after_s = after_s
        self._since: dict[str, float] = {}

    def among(self, busy: set[str]) -> list[str]:
        """Those of them that were busy each time that this was asked, for so long."""
        now = self._monotonic()
        self._since = {uuid: self._since.get(uuid, now) for uuid in busy}
        return [uuid for uuid, since in self._since.items() if now - since > self._after_s]
