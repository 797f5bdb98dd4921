"""A real Gnocchi from its package: API under uWSGI, metricd, file storage, its index in MariaDB."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid

import httpx
from datasource_processes import environment, free_port, run, running

PACKAGES = ("gnocchi[file,mysql]==4.7.1", "uwsgi==2.0.31", "setuptools<81")
MARIADB = "mysql+pymysql://root@127.0.0.1:3306"
_BATCH = 50


@contextlib.contextmanager
def gnocchi(folder):
    """Its URL; the user is admin, without a password."""
    home = environment("gnocchi", PACKAGES)
    database, port = f"trimtab_gnocchi_{os.getpid()}", free_port()
    conf = folder / "gnocchi.conf"
    conf.write_text(
        f"[indexer]\nurl = {MARIADB}/{database}?charset=utf8\n"
        f"[storage]\ndriver = file\nfile_basepath = {folder}/store\n"
        "[incoming]\ndriver = file\n[api]\nauth_mode = basic\n"
        "[metricd]\nworkers = 1\nmetric_processing_delay = 1\n"
    )
    _sql(home, f"CREATE DATABASE {database}")
    try:
        run([home / "bin/gnocchi-upgrade", "--config-file", conf], timeout_s=60)
        serve = [
            *(home / "bin/uwsgi", "--http", f"127.0.0.1:{port}", "--master"),
            *("--die-on-term", "--enable-threads", "--processes", "1", "--threads", "4"),
            *("--lazy-apps", "--chdir", "/", "--wsgi", "gnocchi.rest.wsgi"),
            *("--pyargv", f"--config-file {conf}", "-H", home, "--buffer-size", "32768"),
        ]
        work = [home / "bin/gnocchi-metricd", "--config-file", conf]
        url = f"http://127.0.0.1:{port}"
        with (
            running(serve, folder / "api.log", url + "/v1/capabilities"),
            running(work, folder / "metricd.log"),
        ):
            yield url
    finally:
        _sql(home, f"DROP DATABASE {database}")


def write(url, load):
    """The load as Ceilometer writes it: processors once a minute, memory each half minute."""
    with httpx.Client(base_url=url, auth=("admin", ""), timeout=60, trust_env=False) as client:
        _post(
            client,
            "/v1/archive_policy",
            {
                "name": "minute",
                "back_window": 0,
                "aggregation_methods": ["mean", "min", "max", "rate:mean", "count"],
                "definition": [
                    {"granularity": "60s", "timespan": "1d"},
                    {"granularity": "300s", "timespan": "1d"},
                ],
            },
        )
        _post(
            client,
            "/v1/archive_policy_rule",
            {"name": "all", "metric_pattern": "*", "archive_policy_name": "minute"},
        )
        hosts = {name: f"{name}_{name}" for name in load.host_cpu}
        for key in [*hosts.values(), *load.server_cpu]:
            _post(client, "/v1/resource/generic", {"id": key})
        minutes = [at for at in load.times() if at % 60 == 0]
        bodies = {}
        for name, key in hosts.items():
            bodies[key] = {
                "compute.node.cpu.percent": [
                    _measure(at, load.host_cpu[name]) for at in load.times()
                ],
                "hardware.memory.used": [
                    _measure(at, load.swung(load.host_ram[name], at)) for at in load.times()
                ],
            }
        for key, pct in load.server_cpu.items():
            ns_a_minute = pct / 100 * load.vcpus[key] * 60e9
            bodies[key] = {
                "cpu": [_measure(at, ns_a_minute * i) for i, at in enumerate(minutes)],
                "memory.resident": [
                    _measure(at, load.swung(load.server_ram[key], at)) for at in load.times()
                ],
            }
        ids = list(bodies)
        for start in range(0, len(ids), _BATCH):
            batch = {
                _gnocchi_id(key): {
                    name: {"archive_policy_name": "minute", "measures": measures}
                    for name, measures in bodies[key].items()
                }
                for key in ids[start : start + _BATCH]
            }
            _post(client, "/v1/batch/resources/metrics/measures?create_metrics=true", batch)
        _await_processing(client, 2 * len(ids))


def _post(client, path, body):
    """Repeatable: uWSGI resets a connection now and then. What is there already is well."""
    for _ in range(5):
        with contextlib.suppress(httpx.TransportError):
            answer = client.post(path, json=body, headers={"Connection": "close"})
            if answer.status_code != 409:
                answer.raise_for_status()
            return
    raise RuntimeError(f"Gnocchi does not take {path}")


def _await_processing(client, n_metrics):
    ends = time.monotonic() + 400
    while time.monotonic() < ends:
        summary = client.get("/v1/status?details=false").json()["storage"]["summary"]
        if not summary["measures"]:
            return
        time.sleep(1)
    raise TimeoutError(f"metricd has not done {n_metrics} metrics")


def _measure(at, value):
    return {"timestamp": at, "value": value}


def _gnocchi_id(key):
    return key if "_" not in key else str(_resource_uuid(key))


def _resource_uuid(key):
    """Gnocchi's id of a name: of its own namespace, with the creator behind the name."""
    namespace = uuid.UUID("0a7a15ff-aa13-4ac2-897c-9bdf30ce175b")
    return uuid.uuid5(namespace, f"{key}\x00admin")


def _sql(home, statement):
    code = (
        "import pymysql,sys;"
        "pymysql.connect(host='127.0.0.1',user='root').cursor().execute(sys.argv[1])"
    )
    run([home / "bin/python", "-c", code, statement], timeout_s=20)


if __name__ == "__main__":
    sys.exit("imported by the tests")
