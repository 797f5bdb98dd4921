"""What stands around watcher-tempest-plugin's scenarios: the door before Nova, the pushed metrics."""

from __future__ import annotations

import json

import push_metrics
import pytest
import tempest_surroundings
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


@pytest.fixture(scope="module")
def write_request():
    """prometheus.WriteRequest as protobuf's own runtime has it."""
    file = descriptor_pb2.FileDescriptorProto(name="w.proto", package="w", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    fields = {
        "Label": [("name", 1, kinds.TYPE_STRING, ""), ("value", 2, kinds.TYPE_STRING, "")],
        "Sample": [("value", 1, kinds.TYPE_DOUBLE, ""), ("at", 2, kinds.TYPE_INT64, "")],
        "Series": [("labels", 1, kinds.TYPE_MESSAGE, "Label"), ("samples", 2, 11, "Sample")],
        "WriteRequest": [("series", 1, kinds.TYPE_MESSAGE, "Series")],
    }
    for name, members in fields.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of in members:
            label = kinds.LABEL_REPEATED if of else kinds.LABEL_OPTIONAL
            message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                message.field[-1].type_name = f".w.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("w.WriteRequest"))


def unpacked(block):
    """A snappy block of literals."""
    length = shift = at = 0
    while True:
        byte = block[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    out = b""
    while at < len(block):
        assert block[at] & 3 == 0, "not a literal"
        size = (block[at] >> 2) + 1
        out += block[at + 1 : at + 1 + size]
        at += 1 + size
    assert len(out) == length
    return out


def test_samples_become_a_remote_write_request(write_request):
    text = (
        "# TYPE node_cpu_seconds_total counter\n"
        'node_cpu_seconds_total{"fqdn"="compute-1","mode"="idle"} 31.0 1700000030000\n'
        'node_cpu_seconds_total{"fqdn"="compute-1","mode"="idle"} 1 1700000000000\n'
        "up 1 1700000000000\n"
    )
    data = push_metrics.write_request(push_metrics.parsed(text))
    request = write_request.FromString(unpacked(push_metrics.snappy(data)))
    series = {
        tuple((label.name, label.value) for label in one.labels): [
            (sample.at, sample.value) for sample in one.samples
        ]
        for one in request.series
    }
    cpu = ("__name__", "node_cpu_seconds_total"), ("fqdn", "compute-1")
    assert series == {
        (*cpu, ("job", "promtool"), ("mode", "idle")): [(1700000000000, 1), (1700000030000, 31)],
        (("__name__", "up"), ("job", "promtool")): [(1700000000000, 1)],
    }


def test_what_is_no_sample_is_refused():
    with pytest.raises(ValueError, match="not a sample"):
        push_metrics.parsed("up 1")


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "none"), ({"networks": "auto"}, "auto"), ({"networks": []}, [])],
)
def test_a_server_without_networks_gets_none_and_others_are_left_alone(given, expected):
    body = json.dumps({"server": {"name": "x", **given}, "os:scheduler_hints": {}}).encode()
    made = json.loads(tempest_surroundings.without_networks(body))
    assert made == {
        "server": {"name": "x", **given, "networks": expected},
        "os:scheduler_hints": {},
    }
