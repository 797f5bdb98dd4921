"""Prometheus' HTTP API over the cloud's own load.

Served without a token, as Prometheus itself, and with one, as Aetos: a bad token is refused.
"""

import math
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from trimtab_fakecloud.clock import parse_iso, utc
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.errors import BadRequest
from trimtab_fakecloud.metrics.evaluation import Evaluator, Key, Scalar, Vector
from trimtab_fakecloud.metrics.expressions import (
    Expression,
    QueryError,
    Subquery,
    duration_s,
    parse,
)
from trimtab_fakecloud.metrics.series import CEILOMETER_PORT, NODE_PORT, SeriesStore
from trimtab_fakecloud.rest.answers import answer
from trimtab_fakecloud.rest.gate import Gate

_MAX_STEPS = 11_000
_ERROR_TYPES = {400: "bad_data", 404: "not_found", 422: "execution", 503: "unavailable"}


def prometheus_app(cloud: Cloud, store: SeriesStore) -> Gate:
    """The metrics service."""
    return Gate(
        Router(_Prometheus(cloud, store).routes()),
        cloud,
        "prometheus",
        lambda status, message, _id: {
            "status": "error",
            "errorType": _ERROR_TYPES.get(status, "internal"),
            "error": message,
        },
        is_open=lambda _path: True,
    )


class _Prometheus:
    def __init__(self, cloud: Cloud, store: SeriesStore) -> None:
        self._cloud = cloud
        self._store = store
        self._evaluator = Evaluator(store)

    def routes(self) -> list[Route]:
        both = ["GET", "POST"]
        return [
            Route("/api/v1/query", self.query, methods=both),
            Route("/api/v1/query_range", self.query_range, methods=both),
            Route("/api/v1/labels", self.labels, methods=both),
            Route("/api/v1/label/{name}/values", self.label_values),
            Route("/api/v1/targets", self.targets),
            Route("/api/v1/status/runtimeinfo", self.runtime_info),
            Route("/-/ready", self.ready),
            Route("/-/healthy", self.ready),
        ]

    async def query(self, request: Request) -> Response:
        given = await self._parameters(request)
        at = self._moment(given, "time", self._cloud.now())
        try:
            tree = parse(_required(given, "query"))
            if isinstance(tree, Subquery):
                return _success(self._series(tree, at))
            value = self._evaluator.evaluate(tree, at)
        except QueryError as error:
            raise BadRequest(f'invalid parameter "query": {error}') from None
        if isinstance(value, Scalar):
            return _success({"resultType": "scalar", "result": _sample(at, value.value)})
        rows = [{"metric": dict(k), "value": _sample(at, v)} for k, v in value.items()]
        return _success({"resultType": "vector", "result": rows})

    def _series(self, tree: Subquery, at: float) -> dict[str, Any]:
        found = self._evaluator.matrix(tree, at)
        rows = [
            {"metric": dict(key), "values": [_sample(*each) for each in samples]}
            for key, samples in found.items()
        ]
        return {"resultType": "matrix", "result": rows}

    async def query_range(self, request: Request) -> Response:
        given = await self._parameters(request)
        start, end = self._moment(given, "start"), self._moment(given, "end")
        try:
            step = duration_s(_required(given, "step"))
            rows = self._matrix(parse(_required(given, "query")), (start, end, step))
        except QueryError as error:
            raise BadRequest(f'invalid parameter "query": {error}') from None
        result = [{"metric": dict(key), "values": values} for key, values in rows.items()]
        return _success({"resultType": "matrix", "result": result})

    def _matrix(
        self, tree: Expression, window: tuple[float, float, float]
    ) -> dict[Key, list[list[Any]]]:
        start, end, step = window
        if step <= 0 or end < start:
            raise QueryError("zero or negative step, or end before start")
        if (end - start) / step > _MAX_STEPS:
            raise QueryError("exceeded maximum resolution of 11,000 points per timeseries")
        rows: dict[Key, list[list[Any]]] = {}
        for index in range(int((end - start) // step) + 1):
            at = start + index * step
            value = self._evaluator.evaluate(tree, at)
            vector: Vector = {(): value.value} if isinstance(value, Scalar) else value
            for key, number in vector.items():
                rows.setdefault(key, []).append(_sample(at, number))
        return rows

    async def labels(self, _request: Request) -> Response:
        names = {"__name__"}
        for name in self._store.names():
            first = next(self._store.select(name, lambda _labels: True), None)
            names |= set(first.labels) if first else set()
        return _success(sorted(names))

    async def label_values(self, request: Request) -> Response:
        return _success(sorted(self._store.labels(request.path_params["name"])))

    async def targets(self, request: Request) -> Response:
        state = request.query_params.get("state", "any")
        active = [] if state == "dropped" else list(self._targets())
        return _success(
            {
                "activeTargets": active,
                "droppedTargets": [],
                "droppedTargetCounts": {"node": 0, "ceilometer": 0},
            }
        )

    async def runtime_info(self, _request: Request) -> Response:
        return _success(
            {
                "startTime": utc(self._cloud.began_at).isoformat(),
                "CWD": "/prometheus",
                "reloadConfigSuccess": True,
                "storageRetention": "15d",
            }
        )

    async def ready(self, _request: Request) -> Response:
        return Response("Prometheus Server is Ready.\n", media_type="text/plain")

    def _targets(self) -> Any:
        for host, answers in self._store.hosts():
            instance = f"{host.name}:{NODE_PORT}"
            labels = {"job": "node", "fqdn": host.name, "instance": instance}
            yield self._target(labels, f"http://{instance}/metrics", answers=answers)
        instance = f"127.0.0.1:{CEILOMETER_PORT}"
        labels = {"job": "ceilometer", "instance": instance}
        yield self._target(labels, f"http://{instance}/metrics", answers=True)

    def _target(self, labels: dict[str, str], url: str, *, answers: bool) -> dict[str, Any]:
        return {
            "discoveredLabels": {**labels, "__address__": labels["instance"]},
            "labels": labels,
            "scrapePool": labels["job"],
            "scrapeUrl": url,
            "globalUrl": url,
            "lastError": "" if answers else "connect: connection refused",
            "lastScrape": utc(self._cloud.now()).isoformat(),
            "lastScrapeDuration": 0.01,
            "health": "up" if answers else "down",
            "scrapeInterval": "5s",
            "scrapeTimeout": "5s",
        }

    async def _parameters(self, request: Request) -> dict[str, str]:
        token = request.headers.get("x-auth-token")
        if token is not None:
            self._cloud.identity.check(token)
        given = dict(request.query_params)
        if request.method == "POST":
            given |= dict(parse_qsl((await request.body()).decode(errors="replace")))
        return given

    def _moment(self, given: dict[str, str], name: str, default: float | None = None) -> float:
        text = given.get(name)
        if text is None and default is not None:
            return default
        try:
            return float(text or "")
        except ValueError:
            pass
        try:
            return parse_iso(text or "")
        except ValueError:
            raise BadRequest(
                f'invalid parameter "{name}": cannot parse {text!r} to a valid timestamp'
            ) from None


def _required(given: dict[str, str], name: str) -> str:
    value = given.get(name, "")
    if not value:
        raise BadRequest(f'invalid parameter "{name}": it is empty')
    return value


def _success(data: Any) -> Response:
    return answer({"status": "success", "data": data})


def _sample(at: float, value: float) -> list[Any]:
    """A time and a value as Prometheus writes them."""
    if math.isnan(value):
        return [at, "NaN"]
    if math.isinf(value):
        return [at, "+Inf" if value > 0 else "-Inf"]
    return [at, repr(value)]
