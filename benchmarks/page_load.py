"""What the pack's JavaScript adds to opening ComfyUI's page, in the real browser, in turns with and without it.

python benchmarks/page_load.py          7 pairs of loads
python benchmarks/page_load.py 15       more of them
"Without" answers the request for our one script with an empty one: everything else stays the same.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import comfyui  # pyright: ignore[reportMissingImports]
import frontend  # pyright: ignore[reportMissingImports]

OURS = "**/seedvr2.js"
PAIRS = 7
# of our files: name, when asked for and when there, in milliseconds after the page was opened, and bytes
ASKED = """() => performance.getEntriesByType('resource').filter(one => one.name.includes('seedvr2'))
    .map(one => [one.name.split('/').at(-1), one.startTime, one.responseEnd, one.transferSize])"""


def main(pairs: int) -> None:
    """Print medians of the time until the editor is ready, and what our script took of it."""
    ready: dict[bool, list[float]] = {True: [], False: []}
    fetched: list[float] = []
    asked: list = []
    with (
        tempfile.TemporaryDirectory() as folder,
        comfyui.running(Path(folder), threads=1) as server,
        frontend.browser() as browser,
    ):
        with frontend.opened(browser, server.address):  # the first load of a server is another thing
            pass
        for _ in range(pairs):
            for has_ours in (True, False):
                seconds, files = load(browser, server.address, has_ours)
                ready[has_ours].append(seconds * 1000)
                fetched += [end - start for _, start, end, _ in files if has_ours]
                asked = files if has_ours else asked
    differences = [one - other for one, other in zip(ready[True], ready[False], strict=True)]
    print(f"ready after, median of {pairs}: {statistics.median(ready[True]):.0f} ms with, "
          f"{statistics.median(ready[False]):.0f} ms without")  # fmt: skip
    print(f"difference of a pair, median: {statistics.median(differences):+.0f} ms ({min(differences):+.0f} to "
          f"{max(differences):+.0f})")  # fmt: skip
    print(
        f"our script from request to answer, median: {statistics.median(fetched):.0f} ms; asked for: {asked_for(asked)}"
    )


def load(browser, address: str, has_ours: bool) -> tuple[float, list]:
    """(seconds until the editor is ready, our files) of a load with an empty cache."""
    context = browser.new_context(viewport=frontend.WINDOW)
    try:
        page = context.new_page()
        if not has_ours:
            page.route(OURS, lambda route: route.fulfill(content_type="text/javascript", body=""))
        page.goto(address)
        page.wait_for_function(frontend.IS_READY, timeout=frontend.READY_MS, polling="raf")
        return page.evaluate("() => performance.now() / 1000"), page.evaluate(ASKED)
    finally:
        context.close()


def asked_for(asked: list) -> str:
    """Names and sizes of our files."""
    return ", ".join(f"{name} ({size} bytes)" for name, _, _, size in asked) or "nothing"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS)
