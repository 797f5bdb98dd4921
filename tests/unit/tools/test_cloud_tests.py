import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloud_tests
import pytest


class Machine:
    """A folder with tests and a cloud, and the commands that were run on it."""

    def __init__(self, folder, *, exit_code=0, was_up=False):
        self.tests = folder / "tests"
        self.cloud = folder / "cloud"
        self.commands = []
        self.limits = []
        self.exit_code = exit_code
        self.was_up = was_up
        self.tests.mkdir()
        self.cloud.mkdir()
        (self.cloud / "up").touch()

    def run(self, *command, limit_s, quiet=False):
        self.commands.append((*command, "quietly") if quiet else command)
        self.limits.append(limit_s)
        return self.exit_code

    def main(self, size):
        return cloud_tests.main(
            [size],
            tests=self.tests,
            run=self.run,
            is_up=lambda: self.was_up,
            receipt_keys=self.tests.parent / "fernet-keys",
        )

    @property
    def cloud_scripts(self):
        return [c[0].name for c in self.commands if getattr(c[0], "parent", None) == self.cloud]


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIMTAB_REFERENCE", str(tmp_path))
    monkeypatch.delenv("TRIMTAB_KEEP_CLOUD", raising=False)


def test_without_a_cloud_to_start_it_fails(tmp_path, monkeypatch, capsys):
    machine = Machine(tmp_path)
    monkeypatch.delenv("TRIMTAB_REFERENCE")
    assert machine.main("all") == 1
    assert "TRIMTAB_REFERENCE" in capsys.readouterr().out
    assert machine.commands == []


def test_the_cloud_it_brings_up_is_filled_measured_and_taken_down_without_a_word(tmp_path):
    machine = Machine(tmp_path)
    assert machine.main("smoke") == 0
    assert machine.commands[:3] == [
        (machine.cloud / "up", "6"),
        (machine.cloud / "seed", "6", "30"),
        (machine.cloud / "metrics", "up"),
    ]
    tests = next(command for command in machine.commands if "pytest" in command)
    assert "cloud and not slow" in tests
    assert machine.commands[-1] == (machine.cloud / "down", "quietly")


def test_every_step_has_a_limit(tmp_path):
    machine = Machine(tmp_path)
    machine.main("smoke")
    assert all(limit > 0 for limit in machine.limits)


def test_a_cloud_that_was_up_before_stays_up(tmp_path):
    machine = Machine(tmp_path, was_up=True)
    assert machine.main("smoke") == 0
    assert machine.cloud_scripts == ["up", "seed", "metrics"]


def test_a_cloud_that_does_not_come_up_fails_the_run_and_is_taken_down(tmp_path):
    machine = Machine(tmp_path, exit_code=3)
    assert machine.main("smoke") == 3
    assert machine.cloud_scripts == ["up", "down"]


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path, capsys):
    noted = tmp_path / "pid"
    began = time.monotonic()
    script = f"sleep 60 & echo $! > {noted}; wait"
    assert cloud_tests.run("sh", "-c", script, limit_s=0.5) == cloud_tests.TIMED_OUT
    assert time.monotonic() - began < 20
    assert "sh did not end within" in capsys.readouterr().out
    assert not is_running(int(noted.read_text()))


def test_sigterm_ends_the_step_and_then_takes_the_cloud_down(tmp_path):
    (tmp_path / "cloud").mkdir()
    for name, text in (
        ("up", f"echo $$ > {tmp_path}/up.pid; exec sleep 60"),
        ("down", f"touch {tmp_path}/is-down"),
    ):
        script = tmp_path / "cloud" / name
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
    code = (
        "import cloud_tests, pathlib, sys; "
        "sys.exit(cloud_tests.command(['smoke'], is_up=lambda: False, "
        f"receipt_keys=pathlib.Path({str(tmp_path / 'fernet-keys')!r})))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(cloud_tests.ROOT / "tools")},
    ) as process:
        end = time.monotonic() + 20
        while not (tmp_path / "up.pid").exists() or not (tmp_path / "up.pid").read_text():
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) != 0
    assert (tmp_path / "is-down").exists()
    assert not is_running(int((tmp_path / "up.pid").read_text()))


def test_keystone_s_receipt_keys_are_linked_once(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUD_HOME", str(tmp_path / "home"))
    link = tmp_path / "etc" / "keystone" / "fernet-keys"
    cloud_tests.lay_receipt_keys(link)
    cloud_tests.lay_receipt_keys(link)
    assert link.readlink() == tmp_path / "home" / "data" / "fernet"


def test_the_stock_client_is_installed_once(tmp_path):
    assert any("stock" in step for step in cloud_tests.client_steps(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "openstack").touch()
    assert cloud_tests.client_steps(tmp_path) == []


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
