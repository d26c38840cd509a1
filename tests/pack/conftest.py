"""A real ComfyUI with this pack alone and folders of its own, for everything that ships besides code."""

from __future__ import annotations

import pytest
from seedvr2_anywhere.tools import comfyui


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """ComfyUI on the CPU, stopped at the end."""
    with comfyui.running(tmp_path_factory.mktemp("comfyui"), threads=1) as found:
        yield found
