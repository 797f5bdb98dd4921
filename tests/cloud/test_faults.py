"""Parts of the cloud fail, one at a time: a clear state and message, nothing lost, no restart needed.

Prometheus, nova-api and a nova-compute are really stopped. Keystone, Nova, the database and the
broker are shared with others on this machine: Trimtab reaches them through relays that are cut.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import openstack
import pytest
import yaml
from maintenance import Maintenance, audited
from real_cloud import OURS, eventually
from relays import Relay
from watching import watching

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.rest import RestClient
from trimtab_cli.system import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
KEYSTONE, NOVA, DATABASE, BROKER, MEMCACHED = 5000, 8774, 3306, 5672, 11211
FAULT_S = 15
"""So long a fault lasts where something goes on beneath it."""


@pytest.fixture(scope="module")
def relays():
    with ExitStack() as stack:
        made = {}
        for name, port in {
            "keystone": KEYSTONE,
            "nova": NOVA,
            "database": DATABASE,
            "broker": BROKER,
        }.items():
            made[name] = Relay(port)
            stack.callback(made[name].close)
        yield made


@pytest.fixture(scope="module")
def system(cloud, clouds_yaml, relays, mariadb_url, rabbitmq_url, tmp_path_factory):
    """Trimtab with a relay before each of what it needs. The children get a clouds.yaml of theirs."""
    del cloud
    assert f":{BROKER}/" in rabbitmq_url
    assert f":{DATABASE}/" in mariadb_url or "127.0.0.1/" in mariadb_url
    state = tmp_path_factory.mktemp("faulty")
    entry = yaml.safe_load(clouds_yaml.read_text())["clouds"]["watcher"]
    entry["auth"]["auth_url"] = f"http://127.0.0.1:{relays['keystone'].port}/v3"
    entry["compute_endpoint_override"] = f"http://127.0.0.1:{relays['nova'].port}/v2.1"
    file = state / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"watcher": entry}}))
    database = mariadb_url.rpartition("/")[2]
    spec = SystemSpec(
        state_dir=state,
        ports=ports.free_row(),
        cloud="watcher",
        rabbit_url=rabbitmq_url.replace(f":{BROKER}/", f":{relays['broker'].port}/"),
        database=f"mysql+asyncmy://root@127.0.0.1:{relays['database'].port}/{database}",
        extra_config="[keystone_authtoken]\ntoken_cache_time = 300\n",
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        stack = ExitStack()
        started = stack.enter_context(running(spec, say=lambda _line: None))
    with stack:
        before = pids(started)
        yield started
        assert pids(started) == before, "a service was restarted"


def pids(system):
    return {child.name: child.pid for child in system.supervisor.children}


@pytest.fixture
def rest(system, token):
    client = RestClient(system.url, token=token)
    client.get("/v1/goals")  # so that its token is remembered
    yield client
    client.close()


@pytest.fixture
def told(system, note):
    """Asks with a token, notes what REST said, and gives the answer."""

    def ask(what, token, method="GET", path="/v1/audits", **given):
        answer = httpx.request(
            method, f"{system.url}{path}", headers={"X-Auth-Token": token}, timeout=40, **given
        )
        text = answer.text
        if answer.status_code >= 400:
            text = json.loads(answer.json()["error_message"])["faultstring"]
        note(what, f"{answer.status_code} {text[:200]}")
        return answer

    return ask


@pytest.fixture
def said(system, note):
    """Runs `trimtab` with a token and notes what it said."""

    def run(what, token, *arguments):
        command = [str(Path(sys.executable).parent / "trimtab")]
        command += ["--address", f"127.0.0.1:{system.ports.gateway}", "--token", token]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        words = " ".join((done.stderr or done.stdout).split())
        note(what, f"exit {done.returncode}: {words[-220:]}")
        return done

    return run


@pytest.fixture
def unseen(clouds_yaml):
    """Gives a token that nobody has seen, from Keystone itself."""
    config = openstack.config.OpenStackConfig(config_files=[str(clouds_yaml)])
    return lambda: config.get_one(cloud="devcloud").get_session().get_token()


def rest_for(seconds):
    """The fault lasts; nothing here waits for it."""
    signal.sigtimedwait([signal.SIGUSR2], seconds)


def works(rest):
    """What an operator tries when it is over."""
    done = audited(rest, "server_consolidation", "vm_workload_consolidation")
    assert done["state"] == "SUCCEEDED", done["status_message"]


def test_without_keystone_known_tokens_and_plans_go_on(
    rest, uneven, relays, token, unseen, told, said
):
    work = Maintenance(rest, uneven, seconds=FAULT_S)
    stranger = unseen()
    work.start()
    with relays["keystone"].cut():
        refused = told("Keystone down, a new token", stranger)
        assert refused.status_code == 503
        assert "Keystone" in refused.text
        assert said("Keystone down, trimtab with a new token", stranger, "audit", "list").returncode
        assert told("Keystone down, a known token", token).status_code == 200
        rest_for(FAULT_S)
        assert work.now()["state"] in {"ONGOING", "SUCCEEDED"}
    assert told("Keystone back, the same new token", stranger).status_code == 200
    work.succeeds()
    works(rest)


def test_without_the_database_nothing_is_lost(rest, uneven, relays, token, told, said):
    work = Maintenance(rest, uneven, seconds=FAULT_S, count=2)
    audits = {audit["uuid"] for audit in rest.get("/v1/audits")["audits"]}
    asked = {"audit_type": "ONESHOT", "goal": "dummy", "strategy": "dummy"}
    work.start()
    with relays["database"].cut():
        refused = told("database down, GET", token)
        assert refused.status_code == 503
        posted = told("database down, POST", token, "POST", json=asked)
        assert posted.status_code == 503
        assert said("database down, trimtab", token, "plan", "list").returncode
        rest_for(FAULT_S)
    eventually(lambda: told("database back, GET", token).is_success, "REST answers again", 30, 1.0)
    assert {audit["uuid"] for audit in rest.get("/v1/audits")["audits"]} == audits
    work.succeeds()
    works(rest)


def test_without_the_broker_polls_keep_the_model(system, uneven, relays, token, note):
    command = [str(Path(sys.executable).parent / "trimtab")]
    command += ["--address", f"127.0.0.1:{system.ports.gateway}", "--token", token]
    server = uneven.active(uneven.create(f"{OURS}told", flavor="m1.tiny"))
    with watching([*command, "model", "watch", "-o", "json"]) as watcher:

        def seen_after(status, state, **action):
            began = time.monotonic()
            uneven.act(server.uuid, **action)
            eventually(lambda: uneven.server(server.uuid).status == status, status, every_s=0.05)
            shown_at = time.monotonic()
            wanted = f"SERVER_STATE_{state}"
            seen_at = watcher.since(server.uuid, began, lambda row: row.get("state") == wanted)
            return round(seen_at - shown_at, 2)

        with_it = seen_after("PAUSED", "PAUSED", pause=None)
        with relays["broker"].cut():
            without = seen_after("ACTIVE", "ACTIVE", unpause=None)
            assert "poll" in watcher.causes
        log = system.spec.state_dir / "logs" / "collector.log"
        eventually(
            lambda: (
                log.read_text().rpartition("no notifications")[2].count("notifications are read")
            ),
            "notifications are read again",
            30,
        )
        again = seen_after("PAUSED", "PAUSED", pause=None)
    note("broker up, down, up: seen after Nova's API, s", (with_it, without, again))
    assert max(with_it, again) < 1.0
    assert without < 5.0
    uneven.delete(server.uuid)


def test_while_nova_says_503_a_plan_goes_on_and_a_new_one_fails_with_its_words(
    rest, uneven, relays, note
):
    work = Maintenance(rest, uneven, seconds=FAULT_S, count=2)
    work.start()
    with relays["nova"].saying_503():
        rest_for(FAULT_S / 2)
        assert work.now()["state"] == "ONGOING"
    work.succeeds()
    late = Maintenance(rest, uneven, seconds=1)
    with relays["nova"].saying_503():
        rest.post(f"/v1/action_plans/{late.plan['uuid']}/start")
        done = late.ended()
    assert done["state"] == "FAILED"
    failed = [action for action in late.actions() if action["state"] == "FAILED"]
    note("Nova 503, the plan", done["status_message"])
    note("Nova 503, the action", failed[0]["status_message"])
    assert "503" in failed[0]["status_message"]
    assert len(uneven.servers_on(late.host)) >= 1
    late.clean()
    works(rest)


def test_a_token_that_ends_during_a_plan_is_replaced(rest, cloud, uneven, relays, note):
    """The applier's own token is revoked while the first of two servers moves; Nova, whose memory
    of tokens is emptied, refuses it, and the plan goes on with another.
    """
    work = Maintenance(rest, uneven, seconds=8, count=2)
    work.start()
    known = list(relays["nova"].tokens)
    for token in known:
        cloud.connection.identity.delete("/auth/tokens", headers={"X-Subject-Token": token})
    forget_tokens()
    work.succeeds()
    note("tokens at Nova, before and after", (len(known), len(relays["nova"].tokens)))
    assert len(relays["nova"].tokens) > len(known)
    works(rest)


def forget_tokens():
    """Empties the memcached in which Nova remembers good tokens for five minutes."""
    with socket.create_connection(("127.0.0.1", MEMCACHED), 5) as connection:
        connection.sendall(b"flush_all\r\n")
        assert connection.recv(100).startswith(b"OK")


def test_without_prometheus_an_audit_says_so_and_with_it_works_again(rest, uneven, processes, note):
    del uneven

    def stabilized():
        return audited(rest, "workload_balancing", "workload_stabilization")

    processes.script("metrics", "down")
    try:
        failed = stabilized()
    finally:
        processes.script("metrics", "up")
    note("Prometheus down, the audit", f"{failed['state']}: {failed['status_message']}")
    assert failed["state"] == "FAILED"
    assert "rometheus" in failed["status_message"]
    assert stabilized()["state"] == "SUCCEEDED"


def test_a_compute_that_dies_in_a_migration_fails_the_action_and_loses_nothing(
    rest, uneven, processes, note
):
    work = Maintenance(rest, uneven, seconds=60)
    before = uneven.servers().keys()
    work.start()
    processes.kill_compute(work.host)
    processes.start_computes()
    done = work.ended(240)
    note("compute killed, the plan", f"{done['state']}: {done['status_message']}")
    assert done["state"] in {"SUCCEEDED", "FAILED"}
    if done["state"] == "FAILED":
        said = [a["status_message"] for a in work.actions() if a["state"] == "FAILED"]
        note("compute killed, the actions", said)
        assert all(said)
    assert uneven.servers().keys() == before
    eventually(
        lambda: all(s["state"] == "up" for s in uneven.services().values()), "all hosts are up", 90
    )
    uneven.forget_orphans()
    work.clean()
    works(rest)


def test_while_nova_does_not_answer_a_plan_waits_and_then_goes_on(rest, uneven, processes):
    work = Maintenance(rest, uneven, seconds=10)
    work.start()
    with processes.held("nova-api"):
        # the migration goes on beneath; the plan must neither end nor fail for want of an answer
        began = work.now()["state"]
        rest_for(20)
        assert work.now()["state"] == began == "ONGOING"
    work.succeeds()
