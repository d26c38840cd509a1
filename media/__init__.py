"""Pixels and sound in and out through PyAV; numpy only."""
