"""A real ComfyUI server and its page in a real browser. Without a browser these tests are left out, except in CI.

Opening a page takes seconds, so tests share one of each renderer: `editor` is each of them in turn, `tabs` are both
at once, `canvas` is the classic one, where the renderer does not matter.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from functools import partial

import pytest
from playwright.sync_api import expect
from seedvr2_anywhere.tests.browser.graphs import clip_into, tidied
from seedvr2_anywhere.tools import comfyui, demo_cloud, frontend
from seedvr2_anywhere.tools.environment import NEWEST_FRONTEND

FRONTEND = "SEEDVR2_FRONTEND"  # "newest": not the frontend that this ComfyUI brings but the newest published one
TOKEN_VARIABLE = "RUNCOMFY_API_TOKEN"
MUST_RUN = "SEEDVR2_BROWSER_TESTS"  # set in CI: a missing browser is then a failure, not a reason to skip

expect.set_options(timeout=30_000)  # a limit for hangs: a machine that does much else needs seconds for a click


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window."""
    if frontend.browser_program() is None and not os.environ.get(MUST_RUN):
        pytest.skip("browser tests are left out: no Chromium on this machine (apt-get install chromium)")
    with frontend.browser() as found:
        yield found


@pytest.fixture(scope="session")
def played():
    """RunComfy played on this machine, and the variables that lead a ComfyUI to it with a token that it knows."""
    with demo_cloud.played() as found:
        yield found


@pytest.fixture(scope="session")
def starting(browser, tmp_path_factory, played):
    """Starts ComfyUI on the CPU with this pack alone, which knows where RunComfy is but has no token; at one port."""
    base = tmp_path_factory.mktemp("comfyui")
    clip_into(base)
    options = ["--front-end-root", str(NEWEST_FRONTEND)] if os.environ.get(FRONTEND) == "newest" else []
    variables = {name: value for name, value in played[1].items() if name != TOKEN_VARIABLE}
    start = partial(comfyui.running, base, *options, threads=1, variables=variables, port=comfyui.free_port())
    with contextlib.ExitStack() as servers:
        yield lambda: servers.enter_context(start())


@pytest.fixture(scope="session")
def server(starting):
    """The ComfyUI of all these tests; stopped at the end."""
    return starting()


@pytest.fixture
def restart(server, starting) -> Callable[[], None]:
    """Kills the server and starts it again in the same place."""

    def kill_and_start() -> None:
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        server.process = starting().process

    return kill_and_start


@pytest.fixture(scope="session")
def pages(browser, server):
    """renderer → its page, opened when it is first asked for."""
    found: dict[str, frontend.Frontend] = {}
    with contextlib.ExitStack() as opened:

        def page_of(renderer: str) -> frontend.Frontend:
            if renderer not in found:
                found[renderer] = opened.enter_context(frontend.opened(browser, server.address, renderer))
            return found[renderer]

        yield page_of


@pytest.fixture(params=frontend.RENDERERS)
def editor(pages, request):
    """The page with an empty graph: once on the classic canvas, once as Nodes 2.0."""
    with tidied(pages(request.param)) as found:
        yield found


@pytest.fixture
def canvas(pages):
    """The page with an empty graph on the classic canvas, where the renderer does not matter."""
    with tidied(pages(frontend.CANVAS)) as found:
        yield found


@pytest.fixture
def tabs(pages):
    """Both pages with empty graphs, as two tabs of one user: what one does is seen in both renderers."""
    with contextlib.ExitStack() as both:
        yield [both.enter_context(tidied(pages(renderer))) for renderer in frontend.RENDERERS]
