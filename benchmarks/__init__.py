"""Measurements against the peers; run as scripts."""
