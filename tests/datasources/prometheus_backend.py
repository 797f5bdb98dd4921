"""Debian's Prometheus, filled from a file in the OpenMetrics form, as cloud/metrics fills its own."""

from __future__ import annotations

import contextlib

from datasource_processes import free_port, run, running
from load import HOST_MEMORY_KIB, HOST_VCPUS


@contextlib.contextmanager
def prometheus(folder, load):
    """Its port, with the load in it."""
    history, data, port = folder / "history", folder / "tsdb", free_port()
    history.write_text("\n".join([*_lines(load), "# EOF", ""]))
    run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", history, data],
        timeout_s=300,
    )
    conf = folder / "prometheus.yml"
    conf.write_text("global: {scrape_interval: 1h}\n")
    command = [
        *("prometheus", f"--config.file={conf}", f"--storage.tsdb.path={data}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
    ]
    with running(command, folder / "prometheus.log", f"http://127.0.0.1:{port}/-/ready"):
        yield port


def _lines(load):
    yield "# TYPE node_cpu_seconds counter"
    began = load.times()[0]
    for host, pct in load.host_cpu.items():
        for cpu in range(HOST_VCPUS):
            name = f'node_cpu_seconds_total{{fqdn="{host}.example.org",cpu="{cpu}",mode="idle"}}'
            yield from _samples(name, load, lambda at, pct=pct: (at - began) * (1 - pct / 100))
    yield "# TYPE node_memory_MemTotal_bytes gauge"
    for host in load.host_ram:
        name = f'node_memory_MemTotal_bytes{{fqdn="{host}.example.org"}}'
        yield from _samples(name, load, lambda _at: HOST_MEMORY_KIB * 1024)
    yield "# TYPE node_memory_MemAvailable_bytes gauge"
    for host, kib in load.host_ram.items():
        name = f'node_memory_MemAvailable_bytes{{fqdn="{host}.example.org"}}'
        yield from _samples(
            name, load, lambda at, kib=kib: (HOST_MEMORY_KIB - load.swung(kib, at)) * 1024
        )
    yield "# TYPE ceilometer_cpu gauge"
    for server, pct in load.server_cpu.items():
        ns_a_second = pct / 100 * load.vcpus[server] * 1e9
        name = f'ceilometer_cpu{{resource="{server}"}}'
        yield from _samples(name, load, lambda at, rate=ns_a_second: (at - began) * rate)
    yield "# TYPE ceilometer_memory_usage gauge"
    for server, mib in load.server_ram.items():
        name = f'ceilometer_memory_usage{{resource="{server}"}}'
        yield from _samples(name, load, lambda at, mib=mib: load.swung(mib, at))


def _samples(name, load, value):
    for at in load.times():
        yield f"{name} {value(at)} {at}"
