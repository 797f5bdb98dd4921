"""Rules of the domain that need a library: JSON schemas, parameters, intervals.

On the main path: `api` checks by them what it stores, decision and applier what they run.
"""
