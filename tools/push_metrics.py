"""What watcher-tempest-plugin asks of promtool: `push metrics URL`, samples on standard input.

Debian's promtool cannot push yet. This one sends Prometheus' text format with times, labels quoted as
the plug-in quotes them, as one remote-write request, and says SUCCESS as promtool does.
"""

from __future__ import annotations

import re
import struct
import sys
import urllib.request
from collections.abc import Mapping

SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+) (\d+)$")
LABEL = re.compile(r'"?([a-zA-Z_]\w*)"?="([^"]*)"')
JOB = "promtool"
"""The label that pushed series bear, by which they are deleted."""
_VARINT, _FIXED64, _BYTES = 0, 1, 2
_LITERAL_BYTES = 60
Series = Mapping[tuple[tuple[str, str], ...], list[tuple[int, float]]]


def parsed(text: str) -> Series:
    """Samples (ms, value) by labels."""
    found: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        if match is None:
            raise ValueError(f"not a sample with a time: {line!r}")
        name, labels, value, at = match.groups()
        every = {"__name__": name, "job": JOB, **dict(LABEL.findall(labels or ""))}
        found.setdefault(tuple(sorted(every.items())), []).append((int(at), float(value)))
    return found


def write_request(series: Series) -> bytes:
    """prometheus.WriteRequest, encoded: what remote write takes, before compression."""
    return b"".join(
        _field(
            1,
            b"".join(_field(1, _text(1, name) + _text(2, value)) for name, value in labels)
            + b"".join(_field(2, _sample(at, value)) for at, value in sorted(samples)),
        )
        for labels, samples in series.items()
    )


def snappy(data: bytes) -> bytes:
    """A snappy block that holds everything as it is."""
    pieces = [
        bytes([(len(part) - 1) << 2]) + part
        for part in (data[at : at + _LITERAL_BYTES] for at in range(0, len(data), _LITERAL_BYTES))
    ]
    return _number(len(data)) + b"".join(pieces)


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004, seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, data: bytes) -> bytes:
    return _number(number << 3 | _BYTES) + _number(len(data)) + data


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _sample(at: int, value: float) -> bytes:
    return (
        _number(1 << 3 | _FIXED64)
        + struct.pack("<d", value)
        + _number(2 << 3 | _VARINT)
        + _number(at)
    )


def main(arguments: list[str]) -> int:
    """The command; its exit code."""
    if arguments[:2] != ["push", "metrics"] or len(arguments) != 3:  # noqa: PLR2004, the command
        print("usage: promtool push metrics URL", file=sys.stderr)
        return 2
    body = snappy(write_request(parsed(sys.stdin.read())))
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    request = urllib.request.Request(arguments[2], body, headers)  # noqa: S310, the operator's
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310, same
        print("SUCCESS: metrics pushed to the remote write server")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
