"""Debian's InfluxDB behind a proxy of the form that Grafana has: a token, a project, /query."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import httpx
import uvicorn
from datasource_processes import free_port, running
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "grafana-token"
PROJECT = "7"
_BATCH = 5000
QUERY = (
    'SELECT {{0}}("value") FROM "{retention}"."{name}" WHERE "{tag}" = \'{{1}}\''
    " AND time > now() - {{2}}s AND time <= now()"
)


@contextlib.contextmanager
def influxdb(folder, load):
    """Its URL, with the load in database `load`."""
    port, rpc = free_port(), free_port()
    conf = folder / "influxdb.conf"
    conf.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{rpc}"\n'
        f'[meta]\ndir = "{folder}/meta"\n[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n'
    )
    url = f"http://127.0.0.1:{port}"
    with running(["influxd", "-config", conf], folder / "influxd.log", url + "/ping"):
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            create = "CREATE DATABASE load WITH DURATION INF NAME one_week"
            client.post("/query", params={"q": create}).raise_for_status()
            lines = list(_lines(load))
            for start in range(0, len(lines), _BATCH):
                client.post(
                    "/write",
                    params={"db": "load", "precision": "s"},
                    content="\n".join(lines[start : start + _BATCH]),
                ).raise_for_status()
        yield url


def _lines(load):
    for name, values, swings in (
        ("host_cpu", load.host_cpu, False),
        ("host_ram", load.host_ram, True),
        ("server_cpu", load.server_cpu, False),
        ("server_ram", load.server_ram, True),
    ):
        for key, value in values.items():
            for at in load.times():
                yield f"{name},id={key} value={load.swung(value, at) if swings else value} {at}"


class Proxy:
    """What Grafana does between a client and its datasource; counts what passes."""

    def __init__(self, url):
        self.requests = 0
        self._client = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)
        path = f"/api/datasources/proxy/{PROJECT}/query"
        self.app = Starlette(routes=[Route(path, self._query)], lifespan=self._living)

    @contextlib.asynccontextmanager
    async def _living(self, _app):
        yield
        await self._client.aclose()

    async def _query(self, request):
        self.requests += 1
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"message": "invalid API key"}, 401)
        answer = await self._client.get("/query", params=dict(request.query_params))
        return Response(answer.content, answer.status_code, media_type="application/json")


@contextlib.contextmanager
def grafana(url):
    """A proxy before InfluxDB, and its base URL."""
    proxy, port = Proxy(url), free_port()
    server = uvicorn.Server(
        uvicorn.Config(proxy.app, host="127.0.0.1", port=port, log_level="warning")
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        yield proxy, f"http://127.0.0.1:{port}/api/datasources/proxy/"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def maps():
    """What the operator configures."""

    def row(name, attribute):
        query = QUERY.format(name=name, tag="id", retention="{4}")
        return {
            "project": PROJECT,
            "db": "load",
            "attribute": attribute,
            "translator": "influxdb",
            "query": query,
        }

    return {
        "host_cpu_usage": row("host_cpu", "hostname"),
        "host_ram_usage": row("host_ram", "hostname"),
        "instance_cpu_usage": row("server_cpu", "uuid"),
        "instance_ram_usage": row("server_ram", "uuid"),
    }
