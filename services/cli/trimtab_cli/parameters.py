"""-p name=value on the command line: values are JSON when they read as JSON, else text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click


def parse(pairs: Sequence[str]) -> dict[str, Any]:
    """{"period": 300} from ["period=300"]. click.BadParameter names the pair that is wrong."""
    result: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"'{pair}' is not name=value", param_hint="-p")
        if name in result:
            raise click.BadParameter(f"'{name}' is given twice", param_hint="-p")
        try:
            result[name] = json.loads(text, parse_constant=_refuse)
        except ValueError:
            result[name] = text
    return result


def _refuse(name: str) -> Any:
    raise click.BadParameter(f"{name} is not a number", param_hint="-p")
