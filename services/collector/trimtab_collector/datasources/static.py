"""Values from a file: for tests, demonstrations, and clouds that are measured in another way.

The file is JSON: {"hosts": {hostname: {metric: value}}, "servers": {uuid: {metric: value}}}. It is
read at each query, so that it may be replaced under way.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from trimtab_collector.datasources.interface import METRICS, MetricQuery
from trimtab_common.domain.errors import TrimtabError, Unavailable
from trimtab_common.domain.snapshot import ComputeSnapshot


class Static:
    """A `Datasource` over a file."""

    name = "static"
    metrics = METRICS

    def __init__(self, path: Path) -> None:
        self._path = path

    async def problem(self) -> str:
        """Empty when the file can be read."""
        try:
            await asyncio.to_thread(self._read)
        except TrimtabError as error:
            return error.message
        return ""

    async def found_metrics(self) -> frozenset[str]:
        """The metrics that any host or server has."""
        document = await asyncio.to_thread(self._read)
        rows = [*document["hosts"].values(), *document["servers"].values()]
        return frozenset(metric for row in rows for metric in row) & METRICS

    async def query(self, query: MetricQuery, snapshot: ComputeSnapshot) -> Mapping[str, float]:
        """Values of the resources in the file, whether the model has them or not."""
        del snapshot  # the file knows best
        document = await asyncio.to_thread(self._read)
        rows = document["hosts" if query.metric.startswith("host_") else "servers"]
        return {
            name: float(value)
            for name, row in rows.items()
            if isinstance(value := row.get(query.metric), int | float) and math.isfinite(value)
        }

    async def close(self) -> None:
        """Nothing is open."""

    def _read(self) -> dict[str, dict[str, dict[str, Any]]]:
        try:
            document = orjson.loads(self._path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise Unavailable(f"Cannot read the metrics of {self._path}: {error}.") from None
        parts = [document.get(part, {}) for part in ("hosts", "servers")]
        if not all(isinstance(row, dict) for part in parts for row in part.values()):
            raise Unavailable(f"{self._path}: hosts and servers must be objects of objects.")
        return {"hosts": parts[0], "servers": parts[1]}
