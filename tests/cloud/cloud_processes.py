"""The cloud's own processes: held, killed and started again, also with other settings.

Each keeps its pid and when it began in $CLOUD_HOME/run/NAME.pid, as the cloud's scripts expect.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NOVA = ("nova-api", "nova-conductor", "nova-scheduler")
"""Beside the computes."""
CINDER = ("cinder-api", "cinder-scheduler", "cinder-volume")
_STOP = """
. "$0/lib.sh"; set -e
for name in "$@"; do stop "$name"; done
manage="nova-manage --config-file $ETC/nova/nova.conf --config-file $ETC/nova/db.conf cell_v2"
cell=$($manage list_cells | awk '/ cell1 / {print $4}')
$manage update_cell --cell_uuid "$cell"  # it keeps the broker's address, too: now that of the settings
"""


class CloudProcesses:
    """By the names that their pid files have."""

    def __init__(self, scripts: Path, hosts: int) -> None:
        self._scripts = scripts
        self._hosts = hosts
        self._home = Path(os.environ.get("CLOUD_HOME", "/opt/devcloud"))
        self._settings: dict[str, str] = {}

    def script(self, name: str, *arguments: str) -> None:
        """Runs one of the cloud's own scripts; AssertionError with its words when it fails."""
        self._run(str(self._scripts / name), *arguments)

    def leader(self, name: str) -> int:
        """The pid of a process that leads its own group."""
        return int((self._home / "run" / f"{name}.pid").read_text().split()[0])

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """The process answers nobody while this lasts, and keeps its connections."""
        leader = self.leader(name)
        os.killpg(leader, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(leader, signal.SIGCONT)

    def kill_compute(self, host: str) -> None:
        """Ends a nova-compute without warning."""
        self.script("computes", "kill", host)

    def start_computes(self) -> None:
        """Starts those that are missing, as a supervisor would."""
        self.script("computes", str(self._hosts))

    @contextmanager
    def cloud_with(self, settings: Mapping[str, str]) -> Iterator[None]:
        """All of Nova and Cinder restarted with other settings (oslo.config's variables), and at the end again
        with its own. Should the tests be killed meanwhile: `cloud/down` and `cloud/up`.
        """
        self._settings = dict(settings)
        try:
            self._restart()
            yield
        finally:
            self._settings = {}
            self._restart()

    def _restart(self) -> None:
        hosts = [f"compute-{number + 1}" for number in range(self._hosts)]
        self.script("computes", "stop", *hosts)
        self._run("/bin/bash", "-c", _STOP, str(self._scripts), *NOVA, *CINDER)
        self.script("up", str(self._hosts))  # starts what is missing, with our environment

    def _run(self, *command: str) -> None:
        # into a file: who starts processes that live on would keep a pipe open
        log = self._home / "log" / "tests.log"
        with log.open("ab") as output:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=180,
                check=False,
                env=os.environ | self._settings,
            )
        assert done.returncode == 0, f"{command[0]}: see {log}"
