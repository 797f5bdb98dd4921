"""Engines that live elsewhere: any server of the Open Inference Protocol v2, by configuration (B-312).

On the main path: the registry asks RemoteEngines for what the file names; an engine asks its server.
"""

from __future__ import annotations

from trimtab_scoring.remote.container import RemoteEngines

__all__ = ["RemoteEngines"]
