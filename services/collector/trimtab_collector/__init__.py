"""Collector: reads the cloud and its metrics, keeps the live models, streams how they change."""
