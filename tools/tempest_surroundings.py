"""What the scenario tests of watcher-tempest-plugin need around them and the cloud does not have.

- A door before Nova: this cloud has no networks, and Nova refuses a new server that does not say
  `networks: none`. The plug-in never says it; the door adds it to requests that name no network.
- A Prometheus of its own, which takes what the plug-in pushes: 80 % load here and none there. The
  cloud's own one measures and would contradict.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NOVA_PORT = 8774
HERE = Path(__file__).resolve().parent
_START_S = 30.0
_SKIPPED = {"transfer-encoding", "connection", "content-length", "host"}


class NovaDoor(BaseHTTPRequestHandler):
    """Passes every request on to Nova."""

    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "POST" and self.path.rstrip("/").endswith("/servers"):
            body = without_networks(body)
        nova = http.client.HTTPConnection("127.0.0.1", NOVA_PORT, timeout=120)
        try:
            kept = {k: v for k, v in self.headers.items() if k.lower() not in _SKIPPED}
            nova.request(self.command, self.path, body or None, kept)
            answer = nova.getresponse()
            data = answer.read()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _SKIPPED:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        finally:
            nova.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _pass_on  # noqa: N815, their names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the base class's name
        """Says nothing."""


def without_networks(body: bytes) -> bytes:
    """A request for a server that names no network says that it wants none."""
    wish = json.loads(body)
    wish.get("server", {}).setdefault("networks", "none")
    return json.dumps(wish).encode()


@contextlib.contextmanager
def nova_door() -> Iterator[str]:
    """The URL of a door before Nova."""
    with ThreadingHTTPServer(("127.0.0.1", 0), NovaDoor) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v2.1"
        finally:
            server.shutdown()


@contextlib.contextmanager
def prometheus(home: Path, hosts: Sequence[str]) -> Iterator[int]:
    """The port of a Prometheus that has these hosts as targets and takes what is pushed."""
    port = _free_port()
    folder = home / "prometheus"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    targets = [
        {
            "targets": ["127.0.0.1:1"],  # nothing is there: the plug-in pushes
            "labels": {"fqdn": host, "instance": f"{host}:9100"},
        }
        for host in hosts
    ]
    jobs = [{"job_name": "node", "scrape_interval": "1h", "static_configs": targets}]
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": jobs}))  # YAML, too
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        "--web.enable-admin-api",
        "--log.level=warn",
    ]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,  # noqa: S603, our own command
    ):
        try:
            _await(f"http://127.0.0.1:{port}/-/ready")
            yield port
        finally:
            process.terminate()


def promtool(home: Path) -> Path:
    """A command that pushes metrics as promtool does."""
    path = home / "bin" / "promtool"
    script = f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "push_metrics.py"}" "$@"\n'
    path.write_text(script)
    path.chmod(0o755)
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(url: str) -> None:
    end = time.monotonic() + _START_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310, ours
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
