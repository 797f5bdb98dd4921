"""The query shapes of C-145 to C-149, for one resource and in bulk."""

import httpx
import pytest

P = "300s"


@pytest.fixture
def query(cloud):
    """Values by the one label that is named."""
    with httpx.Client(base_url=cloud.prometheus_url) as client:

        def ask(text, label):
            answer = client.get("/api/v1/query", params={"query": text}).json()
            assert answer["status"] == "success", answer
            rows = answer["data"]["result"]
            return {row["metric"][label]: float(row["value"][1]) for row in rows}

        yield ask


@pytest.fixture
def control(cloud):
    with httpx.Client(base_url=f"{cloud.base_url}/control") as client:
        yield client


@pytest.fixture
def state(control):
    body = control.get("/state").json()
    return {h["hostname"]: h for h in body["hosts"]}, {s["uuid"]: s for s in body["servers"]}


@pytest.mark.req("C-146", "C-170")
def test_host_cpu_of_one_and_of_all_hosts_agree_with_the_cloud(query, state):
    hosts, _ = state
    bulk = query(
        f"100 - avg by (fqdn) (rate(node_cpu_seconds_total{{mode='idle'}}[{P}])) * 100", "fqdn"
    )
    assert bulk == pytest.approx({name: h["cpu_pct"] for name, h in hosts.items()}, abs=0.01)
    selector = "node_cpu_seconds_total{mode='idle',fqdn='compute-1'}"
    one = query(f"100 - (avg by (fqdn)(rate({selector}[{P}])) * 100)", "fqdn")
    assert one == pytest.approx({"compute-1": bulk["compute-1"]})


@pytest.mark.req("C-147")
def test_host_ram_is_what_its_servers_use_and_two_gib(query, state):
    hosts, servers = state
    total = "node_memory_MemTotal_bytes"
    available = "node_memory_MemAvailable_bytes"
    used = query(f"({total} - avg_over_time({available}[{P}])) / 1024", "fqdn")
    for name in hosts:
        mine = [s for s in servers.values() if s["host"] == name and s["status"] == "ACTIVE"]
        expected = 1024 * (2048 + sum(s["memory_used_mib"] for s in mine))
        assert used[name] == pytest.approx(expected, rel=1e-6)


@pytest.mark.req("C-148")
def test_instance_cpu_and_ram_are_those_of_the_servers_that_run(query, state):
    _, servers = state
    active = {uuid: s for uuid, s in servers.items() if s["status"] == "ACTIVE"}
    busy = query(f"avg by (resource)(rate(ceilometer_cpu[{P}]))/10e+8", "resource")
    assert busy == pytest.approx(
        {uuid: s["vcpus"] * s["cpu_pct"] / 100 for uuid, s in active.items()}
    )
    memory = query(f"avg_over_time(ceilometer_memory_usage[{P}])", "resource")
    assert memory == pytest.approx({u: s["memory_used_mib"] for u, s in active.items()})
    uuid, server = next(iter(active.items()))
    rate = f"avg by (resource)(rate(ceilometer_cpu{{resource='{uuid}'}}[{P}]))/10e+8"
    one = query(f"clamp_max(({rate}) *(100/{server['vcpus']}), 100)", "resource")
    assert one == pytest.approx({uuid: server["cpu_pct"]})


@pytest.mark.req("C-149")
def test_the_maximum_over_time_is_taken_by_a_subquery(query):
    inner = "avg by (fqdn)(rate(node_cpu_seconds_total{mode='idle',fqdn=~'compute-(1|2)'}[60s]))"
    found = query(f"max_over_time(({inner})[{P}:15s])", "fqdn")
    assert set(found) == {"compute-1", "compute-2"}
    assert all(0 < ratio <= 1 for ratio in found.values())


def test_another_load_shows_in_the_gauge_at_once(query, control, state):
    _, servers = state
    uuid = next(u for u, s in servers.items() if s["status"] == "ACTIVE")
    control.put(f"/servers/{uuid}", json={"memory_used_mib": 123.0})
    assert query("ceilometer_memory_usage", "resource")[uuid] == 123.0


def test_after_a_move_the_old_series_and_a_new_one_exist(conn, active, query, eventually):
    body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
    conn.compute.post(f"/servers/{active.id}/action", json=body)
    eventually(lambda: conn.compute.get_server(active.id).compute_host != active.compute_host)
    now = query(f"ceilometer_memory_usage{{resource='{active.id}'}}", "publisher")
    assert set(now) == {conn.compute.get_server(active.id).compute_host}
    window = query(f"rate(ceilometer_cpu{{resource='{active.id}'}}[{P}])", "publisher")
    assert active.compute_host in window


def test_a_dead_host_has_a_target_that_is_down_and_no_values(query, control, cloud):
    control.put("/hosts/compute-1", json={"up": False})
    assert "compute-1" not in query("node_memory_MemTotal_bytes", "fqdn")
    targets = httpx.get(f"{cloud.prometheus_url}/api/v1/targets?state=active").json()
    health = {t["labels"].get("fqdn"): t["health"] for t in targets["data"]["activeTargets"]}
    assert (health["compute-1"], health["compute-2"]) == ("down", "up")


@pytest.mark.parametrize(
    "text",
    [
        "histogram_quantile(0.9, x)",
        "x[5m]",
        "rate(x)",
        "avg by (",
        "a{b=c}",
        "",
        "1 +",
        "a{b=~'['}",
    ],
)
def test_what_is_not_understood_is_bad_data(cloud, text):
    answer = httpx.get(f"{cloud.prometheus_url}/api/v1/query", params={"query": text})
    assert answer.status_code == 400
    body = answer.json()
    assert (body["status"], body["errorType"]) == ("error", "bad_data")
    assert body["error"]


@pytest.mark.req("C-145")
def test_labels_targets_and_runtime_info(cloud):
    with httpx.Client(base_url=cloud.prometheus_url) as client:
        names = client.get("/api/v1/label/__name__/values").json()["data"]
        hosts = client.get("/api/v1/label/fqdn/values").json()["data"]
        info = client.get("/api/v1/status/runtimeinfo").json()
    assert {"node_cpu_seconds_total", "ceilometer_cpu", "ceilometer_memory_usage"} <= set(names)
    assert len(hosts) == 6
    assert info["status"] == "success"


def test_a_range_query_gives_a_value_for_each_step(cloud):
    now = cloud.state.now()
    given = {"query": "node_memory_MemTotal_bytes", "start": now - 60, "end": now, "step": "30s"}
    answer = httpx.get(f"{cloud.prometheus_url}/api/v1/query_range", params=given).json()
    assert answer["data"]["resultType"] == "matrix"
    assert {len(row["values"]) for row in answer["data"]["result"]} == {3}


def test_prometheus_also_answers_at_the_root_and_by_post(cloud):
    url = f"{cloud.base_url}/api/v1/query"
    answer = httpx.post(url, data={"query": "1 + 2 * 3"}).json()
    assert answer["data"]["result"][1] == "7.0"


@pytest.mark.fake_only("the reference cloud has no such service")
@pytest.mark.req("C-153")
def test_as_metric_storage_it_takes_the_token_of_the_session(conn):
    endpoint = conn.session.get_endpoint(service_type="metric-storage")
    answer = conn.session.get(f"{endpoint}/api/v1/status/runtimeinfo")
    assert answer.json()["status"] == "success"
    headers = {"X-Auth-Token": "no good"}
    refused = httpx.get(f"{endpoint}/api/v1/query?query=1", headers=headers)
    assert refused.status_code == 401
