"""`trimtab-fakecloud` as a process of its own, reached through the clouds.yaml that it writes."""

import signal
import subprocess
import sys

import openstack
import pytest


@pytest.fixture
def started(tmp_path):
    clouds = tmp_path / "etc" / "clouds.yaml"
    command = [sys.executable, "-m", "trimtab_fakecloud.main", "--port", "0", "--hosts", "3"]
    command += ["--servers", "5", "--clouds-yaml", str(clouds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("clouds.yaml"):
                break
        yield process, clouds, said
        process.kill()


@pytest.mark.parametrize("name", ["fakecloud", "watcher"])
def test_it_says_where_it_is_writes_a_clouds_yaml_and_ends_on_sigterm(started, monkeypatch, name):
    process, clouds, said = started
    assert said.startswith("fake cloud: 3 hosts, 5 servers")
    assert clouds.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    with openstack.connect(cloud=name) as connection:
        assert len(list(connection.compute.servers(all_projects=True))) == 5
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
