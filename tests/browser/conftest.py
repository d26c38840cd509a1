"""A real ComfyUI server and its page in a real browser. Without a browser these tests are left out, except in CI."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import expect
from seedvr2_anywhere.tests.browser.graphs import clip_into
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
def frontend_options():
    """Options of ComfyUI that choose its page."""
    return ["--front-end-root", str(NEWEST_FRONTEND)] if os.environ.get(FRONTEND) == "newest" else []


@pytest.fixture(scope="session")
def played():
    """RunComfy played on this machine, and the variables that lead a ComfyUI to it with a token that it knows."""
    with demo_cloud.played() as found:
        yield found


@pytest.fixture(scope="session")
def server(browser, tmp_path_factory, frontend_options, played):
    """ComfyUI on the CPU with this pack alone, which knows where RunComfy is but has no token; stopped at the end."""
    base = tmp_path_factory.mktemp("comfyui")
    clip_into(base)
    variables = {name: value for name, value in played[1].items() if name != TOKEN_VARIABLE}
    with comfyui.running(base, *frontend_options, threads=1, variables=variables) as found:
        yield found


@pytest.fixture(params=frontend.RENDERERS)
def editor(browser, server, request):
    """The page with an empty graph: once on the classic canvas, once as Nodes 2.0."""
    with frontend.opened(browser, server.address, request.param) as found:
        yield found
        assert found.failures == []


@pytest.fixture
def canvas(browser, server):
    """The page with an empty graph on the classic canvas, where the renderer does not matter."""
    with frontend.opened(browser, server.address) as found:
        yield found
        assert found.failures == []


@pytest.fixture(scope="module", params=frontend.RENDERERS)
def lasting_page(browser, server, request):
    """A page for all tests of a file, in each renderer: opening one takes seconds."""
    with frontend.opened(browser, server.address, request.param) as found:
        yield found


@pytest.fixture
def lasting(lasting_page):
    """That page with an empty graph; what was told of runs before is still known to it."""
    lasting_page.page.evaluate("() => app.rootGraph.clear()")
    yield lasting_page
    assert lasting_page.failures == []
