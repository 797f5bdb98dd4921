"""Remote engines as a container, and one remote engine; see the package."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from trimtab_common.domain.errors import DeadlineExceeded, Unavailable
from trimtab_scoring.engine import ScoringEngine
from trimtab_scoring.remote.clients import Client, connect
from trimtab_scoring.remote.file import RemoteFileRefused, RemoteSpec, read
from trimtab_scoring.remote.plan import Plan, RemoteUnavailable, make_plan

log = structlog.get_logger(__name__)
Connect = Callable[[RemoteSpec], Client]


class RemoteEngines:
    """The engines of the file, read again when it changes; a file that is wrong changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._engines: dict[str, RemoteEngine] = {}

    def engines(self) -> Iterable[ScoringEngine]:
        """What the file names now. Nothing is asked over the network."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._read()
        return tuple(self._engines.values())

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    def _read(self) -> None:
        try:
            specs = read(self._path)
        except RemoteFileRefused as error:
            log.error("remote engines stay as they were", problem=error.message)  # noqa: TRY400, the text says all
            return
        before, self._engines = self._engines, {}
        for spec in specs:
            known = before.pop(spec.name, None)
            if known is not None and known.spec == spec:
                self._engines[spec.name] = known
                continue
            self._engines[spec.name] = RemoteEngine(spec)
            if known is not None:
                known.close()
        for engine in before.values():
            engine.close()
        log.info("remote engines read", engines=sorted(self._engines))


class RemoteEngine:
    """One engine on another server; implements ScoringEngine and BatchEngine.

    After its server was away or too slow it is not asked again for `retry_after_s`: callers hear
    so at once instead of waiting one after the other.
    """

    def __init__(
        self,
        spec: RemoteSpec,
        *,
        connect: Connect = connect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.description = spec.description
        self.n_features: int | None = len(spec.features)
        self.n_scores: int | None = len(spec.scores)
        self.metainfo = json.dumps(
            {
                **spec.metadata,
                "feature_columns": [column.name for column in spec.features],
                "feature_units": [column.unit for column in spec.features],
                "result_columns": [column.name for column in spec.scores],
                "result_units": [column.unit for column in spec.scores],
                "model": spec.model,
                "protocol": "open-inference-v2",
            }
        )
        self._connect = connect
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._plan: Plan | None = None
        self._away_until = 0.0
        self._away = ""

    def calculate_score(self, features: Sequence[float]) -> Sequence[float]:
        """Scores of one row; errors as of calculate_scores."""
        scores: list[float] = self.calculate_scores(np.array([features], dtype=np.float64))[
            0
        ].tolist()
        return scores

    def calculate_scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """[rows, n_scores], all within `timeout_s`.

        RemoteUnavailable, RemoteTimedOut; EngineFailed, RemoteModelMismatch when it answers wrongly.
        """
        self._refuse_while_away()
        until = self._clock() + self.spec.timeout_s
        try:
            return self._asked(rows, until)
        except (Unavailable, DeadlineExceeded) as error:
            with self._lock:
                self._away_until = self._clock() + self.spec.retry_after_s
                self._away = error.message
                self._plan = None  # whoever comes back may have other inputs
            raise

    def close(self) -> None:
        """Ends the connection; a later question opens another one."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _asked(self, rows: NDArray[np.float64], until: float) -> NDArray[np.float64]:
        with self._lock:
            self._client = client = self._client or self._connect(self.spec)
            plan = self._plan
        if plan is None:
            declared = self.spec.inputs or client.inputs(self._left(until))
            plan = make_plan(self.spec, declared)
            with self._lock:
                self._plan = plan
        step = self.spec.max_rows if plan.is_batched else 1
        parts = []
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            outputs = client.infer(plan.fill(part), self._left(until))
            parts.append(plan.join(outputs, len(part)))
        return np.concatenate(parts)

    def _left(self, until: float) -> float:
        return max(0.001, until - self._clock())

    def _refuse_while_away(self) -> None:
        with self._lock:
            wait_s = self._away_until - self._clock()
            if wait_s > 0:
                raise RemoteUnavailable(
                    f"Remote engine {self.name} is not asked for another {wait_s:.1f} s: {self._away}",
                    retry_after_s=f"{wait_s:.3f}",
                )
