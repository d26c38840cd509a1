"""Runs before packs are loaded, and until the server listens takes note of what the code of one of them does.

Leaves seen.json: files opened, connections and processes begun, and the thread's processor time from first to last.
"""

import json
import sys
import time
from pathlib import Path

PACK = "/seedvr2-anywhere/"
WATCHED = {"open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen"}
PORT = int(sys.argv[sys.argv.index("--port") + 1])
seen: dict[str, list[str]] = {event: [] for event in WATCHED}
times: list[float] = []


def is_theirs() -> bool:
    """Whether code of the pack is being run on this thread."""
    frame = sys._getframe(2)
    while frame is not None:
        if PACK in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def look(event: str, arguments: tuple) -> None:
    """An audit hook: it cannot be taken away again, so it ends by doing nothing."""
    if event == "socket.bind" and WATCHED and arguments[1][1:2] == (PORT,):
        WATCHED.clear()
        seconds = times[-1] - times[0] if times else None
        Path(__file__).with_name("seen.json").write_text(json.dumps({"seconds": seconds, "seen": seen}))
    elif event in WATCHED and is_theirs():
        times.append(time.thread_time())
        seen[event].append(str(arguments[0] if event == "open" else arguments))


sys.addaudithook(look)
