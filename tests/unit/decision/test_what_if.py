"""Edits of a snapshot: hosts more, hosts drained, racks lost."""

import numpy as np
import pytest
from cluster_builders import cloud, host, server

from trimtab_common.domain.compute_terms import Aggregate
from trimtab_common.domain.errors import InvalidArgument, NotFound
from trimtab_common.domain.snapshot import NO_HOST
from trimtab_decision.what_if import WHAT_IF, edit

RACK = Aggregate(id=1, name="rack-1", zone=None, hosts=frozenset({"a", "b"}))


def test_a_lost_rack_leaves_servers_without_a_place_when_the_others_are_full():
    clouds = cloud(
        [host(name, vcpus=8, cpu_pct=50) for name in "abc"],
        [server(f"s{n}", at, vcpus=4, cpu_pct=80) for n, at in enumerate("aab")],
        aggregates=[RACK],
    )
    found = edit(*clouds, lose_racks=["rack-1"])
    (told,) = found.told
    assert (told["hosts"], told["servers"], told["placed"]) == (2, 3, 2)
    assert len(told["without_a_place"]) == 1
    assert sum(told["what_stood_in_the_way"].values()) == 1 + 1  # the full host, and a lost one
    assert not found.snapshot.host_up[:2].any()
    assert sorted(found.snapshot.server_host.tolist()) == [NO_HOST, 2, 2]
    assert found.metrics.host["host_cpu_usage"][2] == pytest.approx(50 + 2 * 80 * 4 / 8)


def test_a_drained_host_is_closed_and_keeps_what_must_not_move():
    clouds = cloud(
        [host("a"), host("b"), host("c", vcpus=32)],
        [server("s1", "a"), server("s2", "a", excluded=True)],
    )
    found = edit(*clouds, drain=["a"])
    assert not found.snapshot.host_enabled[0]
    assert found.snapshot.host_disabled_reason[0] == WHAT_IF
    names = dict(zip(found.snapshot.server_name, found.snapshot.server_host.tolist(), strict=True))
    assert names["s2"] == 0
    assert names["s1"] != 0


def test_a_new_host_is_like_the_one_named_or_the_commonest():
    clouds = cloud([host("a", vcpus=64), host("b"), host("c")], [server("s1", "a")])
    found = edit(*clouds, add_hosts=["d", "e:a"])
    assert found.snapshot.host_name[-2:] == ("d", "e")
    assert found.snapshot.host_inventory[-2:, 0].tolist() == [16, 64]
    assert len(found.metrics.host.get("host_cpu_usage", np.zeros(5))) == 5


@pytest.mark.parametrize(
    ("edits", "error"),
    [
        ({"drain": ["nobody"]}, NotFound),
        ({"lose_racks": ["nowhere"]}, NotFound),
        ({"add_hosts": ["a"]}, InvalidArgument),
        ({"add_hosts": ["new:nobody"]}, NotFound),
    ],
)
def test_what_is_not_there_is_named(edits, error):
    with pytest.raises(error):
        edit(*cloud([host("a")], []), **edits)
