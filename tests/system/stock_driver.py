"""Runs commands of the stock client inside its own Python, one after the other, unmodified.

Standard input: one JSON list of words a line, the first `watcher` or `openstack`. Standard output:
one JSON object {code, out, err} for each. In one process, because starting one costs seconds.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from typing import Any


def run(words: list[str]) -> dict[str, Any]:
    """The command's exit code and what it printed."""
    program, *arguments = words
    out, err = io.StringIO(), io.StringIO()
    out.isatty = lambda: False  # type: ignore[method-assign]  # no colours
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if program == "watcher":
                shell = importlib.import_module("watcherclient.shell").WatcherShell()
            else:
                shell = importlib.import_module("openstackclient.shell").OpenStackShell()
            code = shell.run(arguments)
        except SystemExit as end:
            code = end.code
        except Exception as error:  # noqa: BLE001, as the program's main() would print it
            err.write(f"{error}\n")
            code = 1
    return {"code": code or 0, "out": out.getvalue(), "err": err.getvalue()}


for line in sys.stdin:
    sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
    sys.stdout.flush()
