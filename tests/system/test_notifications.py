"""Nova's notifications through a real broker: a change is streamed within a second, without a poll."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import running


@pytest.fixture(scope="module")
def notified(rabbitmq_url, tmp_path_factory):
    spec = SystemSpec(
        state_dir=Path(tmp_path_factory.mktemp("notified")),
        ports=ports.free_row(),
        fakecloud_args=(
            "--hosts",
            "4",
            "--servers",
            "8",
            "--seed",
            "3",
            "--migration-seconds",
            "0.2",
        ),
        rabbit_url=rabbitmq_url,
        extra_config="[collector]\npoll_interval = 60\nquiet_poll_interval = 60\n",
    )
    with running(spec, say=lambda _line: None) as started:
        yield started


def test_a_server_created_behind_our_back_is_streamed_within_a_second(notified):
    command = [str(Path(sys.executable).parent / "trimtab"), "--address"]
    command += [f"127.0.0.1:{notified.ports.gateway}", "model", "watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        try:
            assert "snapshot" in watcher.stdout.readline()
            made = httpx.post(
                f"{notified.fakecloud_url}/control/servers", json={"name": "told-by-nova"}
            )
            assert made.status_code < 300, made.text
            began = time.monotonic()
            timer = threading.Timer(20, watcher.kill)
            timer.start()
            seen = next((line for line in watcher.stdout if "told-by-nova" in line), "")
            timer.cancel()
            assert "told-by-nova" in seen
            assert time.monotonic() - began < 1.0
            assert "poll" not in seen
        finally:
            watcher.kill()
