"""Parameters of zone_migration (§6.12), with the specification's aliases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.options import CHECK_OPTIMIZE_METADATA

COMPUTE_CRITERIA = ("vcpu_num", "mem_size", "disk_size", "created_at", "cpu_num", "memory_size")
STORAGE_CRITERIA = ("size", "created_at")


def _names(what: str) -> dict[str, Any]:
    return {
        "description": f"{what}, the most urgent first.",
        "type": "array",
        "items": {"type": "string"},
    }


def _one_or_many(description: str, choices: tuple[str, ...]) -> dict[str, Any]:
    one = {"type": "string", "enum": list(choices)}
    return {"description": description, "anyOf": [one, {"type": "array", "items": one}]}


def _limit(description: str, default: int) -> dict[str, Any]:
    return {"description": description, "type": "integer", "minimum": 0, "default": default}


SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "compute_nodes": {
            "description": "Compute nodes to empty, and where their servers go.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "src_node": {"description": "Node to empty.", "type": "string"},
                    "dst_node": {
                        "description": "Where its servers go; absent: Nova chooses.",
                        "type": "string",
                    },
                },
                "required": ["src_node"],
                "additionalProperties": False,
            },
        },
        "storage_pools": {
            "description": "Storage pools to empty, and where their volumes go.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "src_pool": {"description": "Pool to empty.", "type": "string"},
                    "dst_pool": {"description": "Where volumes go.", "type": "string"},
                    "src_type": {"description": "Only volumes of this type.", "type": "string"},
                    "dst_type": {"description": "Type that volumes get.", "type": "string"},
                },
                "required": ["src_pool"],
                "oneOf": [{"required": ["dst_pool"]}, {"required": ["dst_type"]}],
                "additionalProperties": False,
            },
        },
        "parallel_total": _limit("The most actions in one plan.", 6),
        "parallel_per_node": _limit("The most migrations of one node in one plan.", 2),
        "parallel_per_pool": _limit("The most volumes of one pool in one plan.", 2),
        "priority": {
            "description": "Which servers and volumes come first.",
            "type": "object",
            "properties": {
                "project": _names("Projects"),
                "compute_node": _names("Compute nodes"),
                "storage_pool": _names("Storage pools"),
                "compute": _one_or_many(
                    "Largest first; created_at: oldest first.", COMPUTE_CRITERIA
                ),
                "storage": _one_or_many(
                    "Largest first; created_at: oldest first.", STORAGE_CRITERIA
                ),
            },
            "additionalProperties": False,
        },
        "with_attached_volume": {
            "description": "Move a server right after its volumes.",
            "type": "boolean",
            "default": False,
        },
        "check_optimize_metadata": dict(CHECK_OPTIMIZE_METADATA),
    },
    "additionalProperties": False,
}
