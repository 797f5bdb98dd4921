"""Makes tests/golden/notifications/story.jsonl from a folder of captured notifications.

    python tools/golden_notifications.py CAPTURE_FOLDER

One line each, in the order of arrival: {"message": ...} a versioned notification as it came, without
the request's context, or {"legacy": ...} what the unversioned `compute.instance.update` of the same
moment said. The second kind comes from another part of Nova: the tests hold the first against it.
Left out are the scheduler's events and every `.start`.
"""

import json
import sys
from pathlib import Path
from typing import Any

OUT = Path(__file__).parents[1] / "tests" / "golden" / "notifications" / "story.jsonl"
LEGACY = "compute.instance.update"
FIELDS = ("instance_id", "state", "host", "vcpus", "memory_mb", "disk_gb", "tenant_id")


def line_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """The line for one captured document, or None when it is left out."""
    message = document["message"]
    event_type = message["event_type"]
    if event_type == LEGACY:
        payload = message["payload"]
        return {"legacy": {name: payload[name] for name in FIELDS}}
    versioned = document["routing_key"].startswith("versioned_notifications.")
    if not versioned or event_type.startswith("scheduler.") or event_type.endswith(".start"):
        return None
    return {"message": {k: v for k, v in message.items() if not k.startswith("_context_")}}


def main(folder: str) -> None:
    """Writes the file."""
    documents = (json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json")))
    lines = [line for line in map(line_of, documents) if line is not None]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    print(f"{len(lines)} lines, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
