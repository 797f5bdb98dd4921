"""The command line: parameters, pictures, and errors for people."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from trimtab_cli import parameters, picture, ports
from trimtab_cli.main import main


def test_parameter_values_are_json_where_they_read_as_json():
    pairs = ["a=1", "b=1.5", "c=true", 'd={"x": [1]}', "e=hello", "f=", "g=x=y"]
    assert parameters.parse(pairs) == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": {"x": [1]},
        "e": "hello",
        "f": "",
        "g": "x=y",
    }


@pytest.mark.parametrize("pairs", [["novalue"], ["=1"], ["a=1", "a=2"], ["a=NaN"], ["a=Infinity"]])
def test_a_wrong_parameter_is_named(pairs):
    with pytest.raises(click.BadParameter):
        parameters.parse(pairs)


def row(host: str, server: str | None = None, **other):
    found = {
        "node_hostname": host,
        "node_state": "up",
        "node_status": "enabled",
        "node_memory": 1000,
        "node_memory_mb_reserved": 0,
        "node_memory_ratio": 1.0,
        "node_vcpus": 10,
        "node_vcpu_reserved": 0,
        "node_vcpu_ratio": 1.0,
        **other,
    }
    if server:
        found |= {"server_uuid": server, "server_memory": 250, "server_vcpus": 1}
    return found


def test_the_picture_folds_servers_into_hosts():
    hosts = picture.hosts_of([row("b"), row("a", "1"), row("a", "2")])
    assert [(h.name, h.servers, h.memory_ratio, h.vcpu_ratio) for h in hosts] == [
        ("a", 2, 0.5, 0.2),
        ("b", 0, 0.0, 0.0),
    ]


def test_an_unreachable_system_is_one_clear_line():
    result = CliRunner().invoke(main, ["--address", "127.0.0.1:1", "audit", "list"])
    assert result.exit_code == 1
    assert "Is it up? Try `trimtab up`." in result.output


def test_simulate_wants_exactly_one_input():
    result = CliRunner().invoke(main, ["simulate", "--goal", "dummy"])
    assert result.exit_code == 2
    assert "exactly one of --cluster and --model" in result.output


@pytest.mark.req("A-034")
def test_the_policy_sample_holds_the_rules_with_their_defaults(tmp_path):
    path = tmp_path / "policy.yaml.sample"
    result = CliRunner().invoke(main, ["policy", "sample", "--output-file", str(path)])
    assert result.exit_code == 0, result.output
    assert '#"audit:create": "rule:admin_api"' in path.read_text()
    assert '#"webhook:trigger": "rule:admin_or_service_api"' in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base-port", "99999"], "--base-port"),
        (["--base-port", "0"], "--base-port"),
        (["--base-port", "41000", "--fakecloud-port", "41003"], "lies inside the row"),
        (["--state-dir", "{file}"], "--state-dir"),
        (["--state-dir", "{free}", "--database", "nonsense"], "--database"),
        (["--state-dir", "{free}", "--database", "sqlite+aiosqlite:////no/x.db"], "--database"),
        (["--state-dir", "{broken}"], "file is not a database"),
    ],
    ids=["above", "zero", "inside", "a file", "no url", "no folder", "broken"],
)
def test_up_says_in_one_line_what_cannot_be_used(arguments, words, tmp_path):
    file, free, broken = (tmp_path / name for name in ("file", "free", "broken"))
    file.write_text("x")
    broken.mkdir()
    (broken / "trimtab.db").write_bytes(b"no database" * 500)
    places = {"file": file, "free": free, "broken": broken}
    row = ports.free_row()
    usual = ["--base-port", str(row.base), "--fakecloud-port", str(row.fakecloud)]
    given = [argument.format(**places) for argument in arguments]
    result = CliRunner().invoke(main, ["up", *usual, *given])
    assert result.exit_code in {1, 2}
    assert words in result.output
    assert isinstance(result.exception, SystemExit)
