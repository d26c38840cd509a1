"""The last word of every recent run, for pages that were opened or connected again after it was said."""

from __future__ import annotations

from threading import Lock

MOST_RUNS = 32


class RunBoard:
    """Messages of the event `seedvr2.run`, the newest of each node of each prompt. Safe for several threads."""

    def __init__(self) -> None:
        self._messages: dict[tuple[str | None, str], dict] = {}
        self._lock = Lock()

    def put(self, message: dict) -> None:
        """Keep a message instead of what the same node of the same prompt said before."""
        key = (message["prompt"], message["node"])
        with self._lock:
            self._messages.pop(key, None)
            self._messages[key] = message
            while len(self._messages) > MOST_RUNS:
                self._messages.pop(next(iter(self._messages)))

    def messages(self) -> list[dict]:
        """All that is kept, oldest first."""
        with self._lock:
            return list(self._messages.values())

    def of_job(self, job: str, is_running: bool) -> dict | None:
        """The newest message about a job's folder; of a running one it may be too early to name it."""
        names, states = (("", job), ("running",)) if is_running else ((job,), ("running", "done", "stopped", "failed"))
        return next((one for one in reversed(self.messages()) if one["job"] in names and one["state"] in states), None)
