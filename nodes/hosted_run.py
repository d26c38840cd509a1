"""The RunComfy backend: not connected yet."""

from __future__ import annotations

NOT_HERE = (
    "The backend {backend} is not in this version: clips are restored on this computer only, nothing is uploaded or "
    "paid. Set backend to local."
)


class HostedRun:
    """One execution of the node on RunComfy."""

    def __init__(self, wish, run: str, preview_seconds: float, backend: dict, node: str | None) -> None:
        raise RuntimeError(NOT_HERE.format(backend=backend["backend"]))
