"""Whether the process that a lease names has ended: only what is certain counts."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from trimtab_common.runtime import identity

SCRIPT = (
    "import sys; from trimtab_common.runtime import identity\n"
    "print(identity.owner_name('applier', 'node-1'), flush=True); sys.stdin.read()\n"
)


def a_process() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.req("A-116")
def test_a_process_has_ended_when_it_was_killed_and_not_before():
    with a_process() as process:
        name = process.stdout.readline().strip()
        assert not identity.has_ended(name)
        process.kill()
        end = time.monotonic() + 30
        while not identity.has_ended(name):  # as soon as it is a zombie, which nobody waited for
            assert time.monotonic() < end
        process.wait(10)
        assert identity.has_ended(name)


def test_this_process_runs_and_has_a_new_name_each_time():
    one, other = (identity.owner_name("applier", "node-1") for _ in range(2))
    assert one != other
    assert not identity.has_ended(one)
    assert identity.host_of(one) == "node-1"


def test_another_process_with_the_same_id_is_not_it():
    name = identity.owner_name("applier", "node-1")
    service, machine, process, rest = name.split("/")
    pid, started = process.split(".")
    assert identity.has_ended(f"{service}/{machine}/{pid}.{int(started) + 1}/{rest}")


@pytest.mark.parametrize("name", ["", "node-2", "first", "applier@node-2/0-1/99999999.1/abcd"])
def test_what_is_elsewhere_or_no_name_of_ours_may_well_run(name):
    assert not identity.has_ended(name)


def test_the_other_machine_of_a_test_proves_nothing_here(monkeypatch):
    with a_process() as process:
        name = process.stdout.readline().strip()
        process.kill()
        process.wait(10)
    assert identity.has_ended(name)
    monkeypatch.setenv(identity.PLAYED, "2")
    identity._machine.cache_clear()
    try:
        assert not identity.has_ended(name)
    finally:
        identity._machine.cache_clear()
