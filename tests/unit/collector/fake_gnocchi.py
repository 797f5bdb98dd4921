"""Gnocchi and a Grafana before InfluxDB as the datasources meet them, in this process.

Kept honest by tests/datasources, which asks the real ones the same questions.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


class FakeGnocchi:
    """`measures`: resource -> metric -> {(method, granularity): [(epoch, value)]}.

    `original`: resource -> its original id. Refuses a whole request as Gnocchi does.
    """

    def __init__(self):
        self.measures = {}
        self.original = {}
        self.requests = []
        self.refuse = []
        self.app = Starlette(
            routes=[
                Route("/v1/metric", self._metrics),
                Route("/v1/aggregates", self._aggregates, methods=["POST"]),
            ]
        )

    def add(self, key, metric, values, *, method="mean", granularity=60):
        resource = key if "_" not in key else f"id-of-{key}"
        self.original[resource] = key
        rows = self.measures.setdefault(resource, {}).setdefault(metric, {})
        rows[method, granularity] = list(values)

    async def _metrics(self, request):
        if refused := self._refused(request):
            return refused
        name = request.query_params.get("name")
        return JSONResponse(
            [{"name": m} for row in self.measures.values() for m in row if m == name][:1]
        )

    async def _aggregates(self, request):
        self.requests.append(body := await request.json())
        if refused := self._refused(request):
            return refused
        _, name, method = body["operations"]
        ((attribute, wanted),) = body["search"]["in"].items()
        given = request.query_params
        granularity = float(given["granularity"])
        of = self.original if attribute == "original_resource_id" else {k: k for k in self.original}
        having = [
            key for key in self.measures if of[key] in set(wanted) and name in self.measures[key]
        ]
        if not having:
            return JSONResponse({"code": 404, "description": f"Metrics ['{name}'] not found"}, 404)
        for key in having:
            if method not in {m for m, _ in self.measures[key][name]}:
                cause = {"cause": "Metrics with unknown aggregation", "detail": [[key, method]]}
                return JSONResponse({"code": 404, "description": cause}, 404)
        lacking = [
            [name, method, granularity]
            for key in having
            if (method, granularity) not in self.measures[key][name]
        ]
        if lacking:
            cause = {"cause": "Metrics cannot be aggregated", "detail": lacking}
            return JSONResponse({"code": 400, "description": cause}, 400)
        start, stop = float(given["start"]), float(given["stop"])
        return JSONResponse(
            {
                "measures": {
                    key: {
                        name: {
                            method: [
                                [datetime.fromtimestamp(at, UTC).isoformat(), granularity, value]
                                for at, value in self.measures[key][name][method, granularity]
                                if start - granularity < at <= stop
                            ]
                        }
                    }
                    for key in having
                },
                "references": [
                    {"id": key, "original_resource_id": self.original[key]} for key in having
                ],
            }
        )

    def _refused(self, request):
        if self.refuse:
            return JSONResponse({"description": "no"}, self.refuse.pop(0))
        if not request.headers.get("authorization", "").startswith("Basic "):
            return JSONResponse({"description": "who?"}, 401)
        return None


class FakeGrafana:
    """`values`: (measurement, id) -> {aggregate: value}; of QUERY below only."""

    QUERY = 'SELECT {0}("value") FROM "{4}"."NAME" WHERE "id" = \'{1}\' AND time > now() - {2}s'
    _ASKED = re.compile(
        r'SELECT (\w+)\("value"\) FROM "(\w+)"\."(\w+)" WHERE "id" = \'((?:[^\'\\]|\\.)*)\''
        r" AND time (?:> now\(\) - (\d+)s|>= (\d+)ms AND time < (\d+)ms GROUP BY time\((\d+)s\))$"
    )

    def __init__(self):
        self.values = {}
        self.asked = []
        self.app = Starlette(routes=[Route("/proxy/{project}/query", self._query)])

    async def _query(self, request):
        if request.headers.get("authorization") != "Bearer good":
            return JSONResponse({"message": "invalid API key"}, 401)
        text = request.query_params["q"]
        if text == "SHOW DATABASES":
            return JSONResponse({"results": [{}]})
        self.asked.append(text)
        match = self._ASKED.match(text)
        if match is None or request.query_params["db"] != "load":
            return JSONResponse({"error": f"error parsing query: {text}"}, 400)
        aggregate, _, name, escaped, _, start, end, step = match.groups()
        key = re.sub(r"\\(.)", r"\1", escaped)
        value = self.values.get((name, key), {}).get(aggregate)
        if value is None:
            return JSONResponse({"results": [{"statement_id": 0}]})
        rows = [[0, value]]
        if start:
            rows = [[at, value] for at in range(int(start), int(end), int(step) * 1000)]
        series = {"name": name, "columns": ["time", aggregate], "values": rows}
        return JSONResponse({"results": [{"series": [series]}]})


@asynccontextmanager
async def served(app):
    """The URL of an app, served in this event loop."""
    import asyncio

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110, uvicorn has no event of it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving
