"""Runs the table of stock commands against one API and says of each how it was answered."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

HERE = Path(__file__).parent
CLIENT = HERE.parent.parent / "build" / "stock-client" / "bin" / "python"
VERSIONS = ("1.0", "1.1", "1.2", "1.5", "1.latest")
PROGRAMS = ("watcher", "openstack")
CLIENT_LATEST = 5
"""What `1.latest` of python-watcherclient 4.11 sends unless a command asks for more."""
UNTIL_S = 60.0
_numbers = itertools.count(int(time.time()) % 100_000 * 100)


@dataclass
class Row:
    """One command as it was run, and what is wrong with its answer; `problem` empty: right."""

    program: str
    version: str
    command: str
    answer: str
    problem: str


class Saved(dict[str, Any]):
    """What earlier steps saved; what they failed to save has a name that equals nothing."""

    def __missing__(self, key: str) -> str:
        return f"<{key} was not saved>"


@dataclass
class Client:
    """The stock client in a process of its own. `environment`: credentials, region."""

    environment: Mapping[str, str]
    process: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [str(CLIENT), "-W", "ignore", str(HERE / "stock_driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=dict(self.environment),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def run(self, words: list[str]) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((HERE / "stock_commands.yaml").read_text())
    return found


def run_table(client: Client, program: str, version: str, scope: Path) -> list[Row]:
    """Every row of the table, in order."""
    saved: dict[str, Any] = {"n": str(next(_numbers)), "scope": str(scope)}
    return [run_step(client, program, version, step, saved) for step in steps()]


def run_step(
    client: Client, program: str, version: str, step: dict[str, Any], saved: dict[str, Any]
) -> Row:
    minor = CLIENT_LATEST if version == "1.latest" else int(version.partition(".")[2])
    try:
        command = step["run"].format(**saved)
    except KeyError as name:
        return Row(program, version, step["run"], "", f"{name} was not saved by an earlier step")
    words = [program, "--os-infra-optim-api-version", version]
    words += ["optimize"] if program == "openstack" else []
    words += shlex.split(command)
    wanted = step.get("fails")
    if step.get("since", 0) > minor:
        wanted = step.get("below")
        step = {key: value for key, value in step.items() if key != "has"}
    verb = words[words.index("optimize") + 2 if program == "openstack" else 4]
    if wanted is None and verb != "delete":
        words += ["-f", "json"]
    until = time.monotonic() + UNTIL_S
    while True:
        answer = client.run(words)
        problem, shown = judge(answer, step, wanted, saved)
        pending = "until" in step and wanted is None and problem and answer["code"] == 0
        if not pending or time.monotonic() > until:
            return Row(program, version, command, shown, problem)
        time.sleep(0.3)


def judge(
    answer: dict[str, Any], step: dict[str, Any], wanted: str | None, saved: dict[str, Any]
) -> tuple[str, str]:
    """What is wrong, and the answer in short."""
    text = (answer["err"] or answer["out"]).strip().replace("\n", " ")
    if wanted is not None:
        if answer["code"] == 0:
            return "it should have failed", text[:100]
        return ("" if wanted in text else f"the text should hold {wanted!r}"), text[:100]
    if answer["code"] != 0:
        return f"exit code {answer['code']}", text[:300]
    return judge_columns(answer, step, saved)


def judge_columns(
    answer: dict[str, Any], step: dict[str, Any], saved: dict[str, Any]
) -> tuple[str, str]:
    """The same of a command that succeeded; saves what the step says."""
    body = json.loads(answer["out"]) if answer["out"].strip() else None
    first = body[0] if isinstance(body, list) and body else body
    count = f"{len(body)} rows" if isinstance(body, list) else "shown" if body else "done"
    if first is None or isinstance(first, list):
        missing = [name for name in ("columns", "has", "save", "until") if name in step]
        return (f"no row, for {missing}" if missing else ""), count
    lacking = [name for name in step.get("columns", ()) if name not in first]
    if lacking:
        return f"no columns {lacking}; there are {sorted(first)}", count
    for name, value in {**step.get("has", {}), **step.get("until", {})}.items():
        expected = value.format_map(Saved(saved)) if isinstance(value, str) else value
        if first.get(name) != expected:
            return f"{name} is {first.get(name)!r}, not {expected!r}", count
    for name, column in step.get("save", {}).items():
        saved[name] = first[column]
    return "", count


def as_markdown(rows: list[Row]) -> str:
    """The table: command, our answer, verdict."""
    lines = ["| program | version | command | answer | verdict |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.program} | {row.version} | `{row.command}` | {row.answer} | {row.problem or 'right'} |"
        for row in (
            Row(r.program, r.version, r.command, r.answer.replace("|", "/"), r.problem)
            for r in rows
        )
    ]
    return "\n".join(lines) + "\n"
