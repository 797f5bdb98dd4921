"""Supervised processes: they end with us, they are started again, their last words are shown."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from trimtab_cli.processes import MAX_RESTARTS, STABLE_S, Child, StartError, Supervisor


def child(tmp_path, code: str) -> Child:
    log = tmp_path / "child.log"
    return Child("child", [sys.executable, "-c", code], log, dict(os.environ))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(check, limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def test_what_ended_is_told_with_the_end_of_its_log(tmp_path):
    started = child(tmp_path, "import sys; sys.exit('the reason')")
    started.start()
    started.process.wait(10)
    with pytest.raises(StartError, match=r"(?s)exit code 1.*the reason"):
        started.check()


def test_the_words_of_an_earlier_run_are_not_shown(tmp_path):
    (tmp_path / "child.log").write_text("the earlier reason\n")
    started = child(tmp_path, "import sys; sys.exit('the reason')")
    started.start()
    started.process.wait(10)
    assert started.tail() == "the reason"


def test_stop_ends_everything_that_was_started(tmp_path):
    supervisor = Supervisor()
    pids = [
        supervisor.add(child(tmp_path, "import time; time.sleep(60)")).process.pid for _ in range(3)
    ]
    supervisor.stop()
    assert not any(is_alive(pid) for pid in pids)


def test_a_process_that_keeps_failing_is_given_up(tmp_path):
    supervisor = Supervisor()
    failing = supervisor.add(child(tmp_path, "raise SystemExit(3)"))
    for _ in range(MAX_RESTARTS):
        failing.process.wait(10)
        assert supervisor.restart_failed() == ["child ended with exit code 3; started again"]
    failing.process.wait(10)
    with pytest.raises(StartError, match="6 times"):
        supervisor.restart_failed()


def test_rare_crashes_never_add_up_to_an_end(tmp_path):
    supervisor = Supervisor()
    failing = supervisor.add(child(tmp_path, "raise SystemExit(3)"))
    for _ in range(MAX_RESTARTS + 2):
        failing.process.wait(10)
        failing.started_at -= STABLE_S  # as if it had run that long
        assert supervisor.restart_failed() == ["child ended with exit code 3; started again"]
    supervisor.stop()


def test_children_end_when_their_parent_is_killed(tmp_path):
    parent = textwrap.dedent(
        f"""
        import os, sys, time
        from pathlib import Path
        from trimtab_cli.processes import Child, Supervisor
        made = Supervisor().add(Child("c", [sys.executable, "-c", "import time; time.sleep(60)"],
                                      Path({str(tmp_path / "c.log")!r}), dict(os.environ)))
        print(made.process.pid, flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as p:
        pid = int(p.stdout.readline())
        assert is_alive(pid)
        p.kill()
    eventually(lambda: not is_alive(pid))
