"""A model as a graph: what is on what, and the way from one thing to another."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trimtab_common.domain import storage
from trimtab_common.domain.changes import HostRow, ServerRow, SetAggregates, UpsertGroup
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.compute_terms import Aggregate, ServerGroup
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.graph import Graph, compute_graph, storage_graph
from trimtab_common.domain.storage import Attachment, PoolRow, StorageNodeRow, VolumeRow

S1, S2 = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))


def a_compute_graph():
    model = ComputeModel.from_rows(
        [
            HostRow(uuid="u1", hostname="h1", inventory=(8, 64, 10), zone="az1"),
            HostRow(uuid="u2", hostname="h2", inventory=(8, 64, 10), zone="az1"),
        ],
        [
            ServerRow(uuid=S1, name="one", hostname="h1", demand=(1, 2, 3)),
            ServerRow(uuid=S2, name="two", hostname="gone", demand=(1, 2, 3)),
        ],
    )
    aggregate = Aggregate(id=7, name="ssd", zone=None, hosts=frozenset({"h2", "other"}))
    group = ServerGroup(uuid="g", name="apart", policy="affinity", members=frozenset({S1, "x"}))
    model.apply([SetAggregates((aggregate,)), UpsertGroup(group)])
    return compute_graph(model.snapshot())


@pytest.mark.req("C-020", "C-026")
def test_servers_are_on_hosts_and_hosts_in_zones_and_aggregates():
    document = a_compute_graph().as_json()
    edges = {(edge["source"], edge["target"], edge["kind"]) for edge in document["edges"]}
    assert edges == {
        (S1, "u1", "on"),
        ("u1", "zone az1", "in"),
        ("u2", "zone az1", "in"),
        ("u2", "aggregate 7", "in"),
        (S1, "g", "member"),
    }
    first = next(vertex for vertex in document["vertices"] if vertex["id"] == S1)
    assert (first["type"], first["layer"], first["vcpus"]) == ("server", "virtual", 1)
    assert len(document["vertices"]) == 7


@pytest.mark.req("C-026")
def test_the_shortest_path_goes_over_hosts_and_zones_and_volumes():
    rows = {
        storage.NODE: (StorageNodeRow(host="s@b"),),
        storage.POOL: (PoolRow(name="s@b#p"), PoolRow(name="gone@x#p")),
        storage.VOLUME: (VolumeRow(uuid="v", pool="s@b#p", attachments=(Attachment(S1, "a"),)),),
    }
    snapshot = ElementSnapshot(
        epoch="e", revision=1, taken_at=datetime(2026, 1, 1, tzinfo=UTC), rows=rows
    )
    graph = a_compute_graph().joined(storage_graph(snapshot))
    assert graph.shortest_path("s@b", "u2") == ["s@b", "s@b#p", "v", S1, "u1", "zone az1", "u2"]
    assert graph.shortest_path("u1", "u1") == ["u1"]
    assert graph.shortest_path("u1", S2) == []
    assert graph.shortest_path("nobody", "u1") == []


@pytest.mark.req("C-025")
def test_stacks_and_parts_of_any_layer_go_on_top_with_attributes_of_their_own():
    graph = a_compute_graph()
    graph.vertices["u1"] = {**graph.vertices["u1"], "cpu_family": "cascade lake"}
    parts = Graph(
        {
            "switch 1": {"type": "switch", "layer": "physical", "ports": 48},
            "nic 1": {"type": "nic", "layer": "physical"},
            "vnic 1": {"type": "vnic", "layer": "virtual"},
            "shop": {"type": "stack", "layer": "application", "owner": "sales"},
        },
        [
            ("nic 1", "u1", "part"),  # within a layer
            ("nic 1", "switch 1", "link"),
            ("vnic 1", "nic 1", "on"),  # between two
            ("vnic 1", S1, "part"),
            ("shop", S1, "runs on"),
        ],
    )
    whole = graph.joined(parts)
    assert whole.shortest_path("shop", "u1") == ["shop", S1, "u1"]
    assert whole.shortest_path("vnic 1", "switch 1") == ["vnic 1", "nic 1", "switch 1"]
    found = {vertex["id"]: vertex for vertex in whole.as_json()["vertices"]}
    assert {vertex["layer"] for vertex in found.values()} == {"physical", "virtual", "application"}
    assert (found["u1"]["cpu_family"], found["shop"]["owner"]) == ("cascade lake", "sales")
    assert found["switch 1"]["ports"] == 48
    assert {"source": "shop", "target": S1, "kind": "runs on"} in whole.as_json()["edges"]
    assert "shop" not in graph.vertices  # the model's own graph is left as it was
