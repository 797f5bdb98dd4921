"""A RabbitMQ node of the tests' own, to be killed and started again as one wishes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from shutil import which

from real_cloud import eventually

START_S = 60.0
_PLACES = "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"


def server_program() -> str | None:
    """The broker's own start script: the one on Debian's PATH insists on being another user."""
    found = sorted(Path("/").glob(_PLACES.lstrip("/")))
    return str(found[-1]) if found else which("rabbitmq-server")


class PrivateBroker:
    """Keeps its data below a folder over its deaths."""

    def __init__(self, folder: Path, program: str) -> None:
        self._folder = folder
        self._program = program
        self.port, self._distribution_port = _free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\n"
            "log.console = true\nlog.console.level = warning\nlog.file = false\n"
        )
        (folder / "plugins").write_text("[].\n")

    @property
    def url(self) -> str:
        """For Nova and for Trimtab alike."""
        return f"rabbit://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Returns when it listens."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | self._environment(),
            )
        eventually(self._listens, "the private broker listens", START_S)

    def kill(self) -> None:
        """SIGKILL: what it kept in memory is lost, its connections break."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        eventually(lambda: not self._listens(), "the private broker is dead", 10)

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        local = "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1"
        return {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"trimtab-{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": local,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
