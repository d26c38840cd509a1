"""Fetch and verify one result in a process of its own, and print the memory it took: `python receiving.py URL FILE`."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent


def load_pack() -> None:
    spec = importlib.util.spec_from_file_location("pack_loader", TESTS / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def peak_kib() -> int:
    """Highest resident memory of this process since it was last reset."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def main(url: str, file: str) -> None:
    from seedvr2_anywhere import net
    from seedvr2_anywhere.cloud import clip
    from seedvr2_anywhere.cloud.answers import SUCCEEDED, Result, State
    from seedvr2_anywhere.cloud.fetch import Errand, fetch_result
    from seedvr2_anywhere.cloud.plan import Segment

    segment = Segment(0, 0, 40)
    result = Result(State(SUCCEEDED, "succeeded"), (url,))
    errand = Errand(
        request_id="req-0001",
        target=Path(file),
        ask_again=lambda: result,
        verify=lambda path: clip.result_complaint(path, segment, (160, 120), 135),
        pause=time.sleep,
    )
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    idle = peak_kib()
    start = time.monotonic()
    path = fetch_result(result, errand, net.guarded_session(net.Rules(loopback=True)))
    taken = time.monotonic() - start
    print(path.stat().st_size, (peak_kib() - idle) * 1024, round(taken, 1))


if __name__ == "__main__":
    load_pack()
    main(*sys.argv[1:])
