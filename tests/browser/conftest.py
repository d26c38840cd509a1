"""A real ComfyUI server and its page in a real browser. Without a browser these tests are left out, except in CI."""

from __future__ import annotations

import os

import pytest
from seedvr2_anywhere.tests.browser.graphs import clip_into
from seedvr2_anywhere.tools import comfyui, frontend

MUST_RUN = "SEEDVR2_BROWSER_TESTS"  # set in CI: a missing browser is then a failure, not a reason to skip


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window."""
    if frontend.browser_program() is None and not os.environ.get(MUST_RUN):
        pytest.skip("browser tests are left out: no Chromium on this machine (apt-get install chromium)")
    with frontend.browser() as found:
        yield found


@pytest.fixture(scope="session")
def server(browser, tmp_path_factory):
    """ComfyUI on the CPU with this pack alone, stopped at the end."""
    base = tmp_path_factory.mktemp("comfyui")
    clip_into(base)
    with comfyui.running(base, threads=1) as found:
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
