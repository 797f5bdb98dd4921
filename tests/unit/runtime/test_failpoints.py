"""Failpoints: one list, the code held to it, nothing without an order, and what each kind does."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from trimtab_common.domain.errors import FailedPrecondition, Unavailable
from trimtab_common.runtime import failpoints

SERVICES = Path(failpoints.__file__).parents[3]
NAME = "applier.write.before"


@pytest.fixture(autouse=True)
def disarmed(monkeypatch):
    monkeypatch.delenv(failpoints.ONCE, raising=False)
    yield
    failpoints.arm("")


def names_in_the_code() -> list[str]:
    files = [path for path in SERVICES.rglob("*.py") if path.name != "failpoints.py"]
    texts = [path.read_text(encoding="utf-8") for path in files]
    return [name for text in texts for name in re.findall(r'failpoints\.reach\("([^"]+)"\)', text)]


def test_the_list_is_what_the_code_passes_each_at_one_place():
    assert Counter(names_in_the_code()) == dict.fromkeys(failpoints.NAMES, 1)


def test_there_are_thirty_in_the_four_services():
    rooms = Counter(name.partition(".")[0] for name in failpoints.NAMES)
    of_services = {room: rooms[room] for room in ("applier", "decision", "api", "collector")}
    assert sum(of_services.values()) >= 30
    assert min(of_services.values()) >= 5


def test_every_call_is_written_so_that_it_can_be_found():
    calls = sum(
        len(re.findall(r"failpoints\.reach\(|failpoints import", path.read_text(encoding="utf-8")))
        for path in SERVICES.rglob("*.py")
        if path.name != "failpoints.py"
    )
    assert calls == len(failpoints.NAMES)


def test_nothing_happens_without_an_order():
    for name in failpoints.NAMES:
        failpoints.reach(name)


def test_an_error_fires_once_at_its_passage():
    failpoints.arm(f"{NAME}=error@3")
    failpoints.reach(NAME)
    failpoints.reach("applier.write.after")
    failpoints.reach(NAME)
    with pytest.raises(Unavailable, match=NAME):
        failpoints.reach(NAME)
    failpoints.reach(NAME)


def test_a_pause_of_some_seconds_blocks_the_process():
    failpoints.arm(f"{NAME}=pause:0.05")
    began = time.monotonic()
    failpoints.reach(NAME)
    assert time.monotonic() - began >= 0.05


def test_of_several_processes_only_the_first_fires(monkeypatch, tmp_path):
    monkeypatch.setenv(failpoints.ONCE, str(tmp_path / "fired"))
    failpoints.arm(f"{NAME}=error")
    with pytest.raises(Unavailable):
        failpoints.reach(NAME)
    assert (tmp_path / "fired").read_text().startswith(NAME)
    failpoints.arm(f"{NAME}=error")
    failpoints.reach(NAME)


def test_the_orders_may_stand_in_a_file(monkeypatch, tmp_path):
    orders = tmp_path / "orders"
    orders.write_text(f"{NAME}=error\n")
    monkeypatch.setenv(failpoints.VARIABLE, f"@{orders}")
    assert failpoints.arm_from_environment()
    orders.write_text("")
    assert failpoints.arm_from_environment()
    failpoints.reach(NAME)
    monkeypatch.setenv(failpoints.VARIABLE, f"{NAME}=error")
    assert not failpoints.arm_from_environment()
    with pytest.raises(Unavailable):
        failpoints.reach(NAME)


@pytest.mark.parametrize(
    "order",
    ["nowhere=crash", f"{NAME}=explode", f"{NAME}=crash@0", f"{NAME}=crash@x", f"{NAME}=crash:2"],
)
def test_an_order_that_means_nothing_arms_nothing(order):
    with pytest.raises(FailedPrecondition, match=failpoints.VARIABLE):
        failpoints.arm(f"applier.write.after=error;{order}")
    failpoints.reach("applier.write.after")


def child(order: str) -> subprocess.Popen[bytes]:
    script = (
        "from trimtab_common.runtime import failpoints\n"
        f"failpoints.arm({order!r})\n"
        f"failpoints.reach({NAME!r})\n"
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)


def test_a_crash_is_a_sigkill():
    with child(f"{NAME}=crash") as process:
        assert process.wait(30) == -signal.SIGKILL


def test_a_pause_without_seconds_lasts_until_sigcont():
    with child(f"{NAME}=pause") as process:
        end = time.monotonic() + 30
        stat = Path(f"/proc/{process.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGCONT)
        assert process.wait(30) == 0
